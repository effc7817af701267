"""Taking tasks in: from a delivery to a row in the ledger, while the executor is ready and somebody here may do it."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from clawbus.bus import Bus, Delivery, SignedCopy, TaskConsumer, stored_seq
from clawbus.errors import BusAway, WireError
from clawbus.node.ledger import Ledger
from clawbus.node.mailbox import Outbox
from clawbus.node.worker.admission import Admission
from clawbus.node.worker.executor import WorkerExecutor, result
from clawbus.node.worker.groups import Groups
from clawbus.node.worker.oversight import OversightGate, Verdict
from clawbus.tasks.dead_letters import DeadLetters
from clawbus.tasks.ends import Ends
from clawbus.wire.envelope import Envelope

log = logging.getLogger(__name__)
_ANOTHERS_S = 0.25
_ANOTHERS_LONGEST_S = 5.0
_UNDECIDED_S = 3.0
_GO = Verdict(True)


class Intake:
    """The tasks that come to one gateway. Use as a context manager; call `next` with a free slot in hand."""

    def __init__(
        self,
        bus: Bus,
        task_consumer: TaskConsumer,
        executor: WorkerExecutor,
        ledger: Ledger,
        outbox: Outbox,
        groups: Groups,
        oversight_gate: OversightGate,
        ends: Ends,
    ) -> None:
        self._bus = bus
        self._task_consumer = task_consumer
        self._executor = executor
        self._ledger = ledger
        self._outbox = outbox
        self._groups = groups
        self._oversight_gate = oversight_gate
        self._ends = ends
        self._dead = DeadLetters(bus, groups.subjects)
        self.clock = task_consumer.clock
        self._admission = Admission(bus, groups.org)
        self.active: dict[str, asyncio.Task[Envelope] | None] = {}
        """The tasks in hand, and what is doing each now."""

    async def __aenter__(self) -> Intake:
        await self._task_consumer.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._task_consumer.__aexit__(*exc)

    async def next(self) -> str:
        """Wait for the next task that is to be done here, put it into the ledger, and return its id."""
        while True:
            delivery = await self._delivery()
            try:
                if (task_id := await self._accept(delivery)) is not None:
                    return task_id
            except BusAway:
                log.debug("task message %d comes again when its lease is over", delivery.stream_seq)
            except Exception:  # one odd message must not stop the node
                log.exception("task message %d could not be taken in; it comes again", delivery.stream_seq)
                with contextlib.suppress(BusAway):
                    await self._bus.nak(delivery.ack_subject, _ANOTHERS_LONGEST_S)

    async def _delivery(self) -> Delivery:
        """The next delivery, taken only while the executor is ready."""
        while True:
            await self._executor.ready.wait()
            taking = asyncio.create_task(self._task_consumer.next_task())
            leaving = asyncio.create_task(self._executor.gone.wait())
            try:
                await asyncio.wait({taking, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                leaving.cancel()
                taking.cancel()
            (taken,) = await asyncio.gather(taking, return_exceptions=True)
            if isinstance(taken, Delivery):
                return taken
            if not isinstance(taken, asyncio.CancelledError):
                raise taken

    async def _accept(self, delivery: Delivery) -> str | None:
        """Put a delivery into the ledger. None if there is nothing to do here: malformed, done, running, another's."""
        try:
            task = await self._task(delivery)
        except WireError as error:
            to = self._groups.subjects.addressed(delivery.subject)
            await self._dead.refuse(delivery, self._groups.stand_in(to), error)
            return None
        task_id = task.task_id or ""
        known = self._ledger.runs.get(task_id)
        if known is not None:
            self._bus.verifier.count_copy(delivery, stored_seq(known.ack_subject))
        if known is not None and known.state == "closed":
            await self._bus.ack(delivery.ack_subject)
            return None
        worker = known.worker if known is not None else self._groups.choose(task, self._executor.barred)
        if worker is None:
            await self._bus.nak(delivery.ack_subject, min(_ANOTHERS_S * delivery.delivered, _ANOTHERS_LONGEST_S))
            return None
        verdict = await self._verdict(task, worker) if known is None else _GO
        if not verdict.go and verdict.refused is None and not await self._over(task):
            # nothing waits under a lease: it is looked at again soon
            await self._bus.nak(delivery.ack_subject, _UNDECIDED_S)
            return None
        strikes = await self._groups.strikes(task) if known is None and delivery.delivered > 1 else 0
        with self._ledger.together():
            self._ledger.runs.hold(task, worker, delivery.ack_subject, strikes, SignedCopy.of(delivery).as_json())
            if task_id in self.active:  # the lease had run out (this machine slept): go on under the new one
                return None
            self._outbox.event("delivered", task_id, worker, delivered=delivery.delivered)
            if verdict.refused is not None:
                held = self._ledger.runs.get(task_id)
                ended = result(held, verdict.status, verdict.refused) if held else None
                self._ledger.runs.advance(task_id, "replied", ended)
        return task_id

    async def _verdict(self, task: Envelope, worker: str) -> Verdict:
        """Decide if a task may start. One that has not kept to the limits is dead, with the reason. Raises BusAway."""
        if why := await self._admission.refusal(task, worker):
            return Verdict(False, why, "dead")
        return await self._oversight_gate.may_start(task, worker)

    async def _over(self, task: Envelope) -> bool:
        """True if a task has ended or expired while it waited for a person: then it is cleared away. Raises BusAway."""
        if await self.clock.has_passed(task.expires_at):
            return True
        return await self._ends.read(task.task_id or "", task.sender, task.to) is not None

    async def _task(self, delivery: Delivery) -> Envelope:
        """Raises WireError, BusAway."""
        task = await self._bus.verifier.envelope(self._groups.subjects, delivery)
        to = self._groups.subjects.addressed(delivery.subject)
        if task.type != "task" or not task.task_id or not to or task.to != to:
            raise WireError("not a task for the receiver of its subject")
        return task
