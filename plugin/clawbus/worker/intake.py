"""Taking tasks in: from a delivery to a row in the ledger, while the doer is ready and somebody here may do it."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from clawbus.bus import Bus, Delivery, Ends, Taker
from clawbus.envelope import Envelope, decode, now
from clawbus.errors import BusAway, WireError
from clawbus.ledger import Ledger
from clawbus.mailbox import DeadLetters, Outbox
from clawbus.worker.doer import Doer, result
from clawbus.worker.groups import Groups
from clawbus.worker.overseer import Overseer, Verdict

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
        taker: Taker,
        doer: Doer,
        ledger: Ledger,
        outbox: Outbox,
        groups: Groups,
        overseer: Overseer,
        ends: Ends,
    ) -> None:
        self._bus = bus
        self._taker = taker
        self._doer = doer
        self._ledger = ledger
        self._outbox = outbox
        self._groups = groups
        self._overseer = overseer
        self._ends = ends
        self._dead = DeadLetters(bus, groups.subjects)
        self.active: dict[str, asyncio.Task[Envelope] | None] = {}
        """The tasks in hand, and what is doing each now."""

    async def __aenter__(self) -> Intake:
        await self._taker.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._taker.__aexit__(*exc)

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
        """The next delivery, taken only while the doer is ready."""
        while True:
            await self._doer.ready.wait()
            taking = asyncio.create_task(self._taker.take())
            leaving = asyncio.create_task(self._doer.gone.wait())
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
            task = self._task(delivery)
        except WireError as error:
            log.warning("task message %d refused: %s", delivery.stream_seq, error)
            to = self._groups.subjects.addressed(delivery.subject)
            await self._dead.malformed(delivery, self._groups.stand_in(to), str(error))
            await self._bus.term(delivery.ack_subject, str(error)[:200])
            return None
        task_id = task.task_id or ""
        known = self._ledger.runs.get(task_id)
        if known is not None and known.state == "closed":
            await self._bus.ack(delivery.ack_subject)
            return None
        worker = known.worker if known is not None else self._groups.choose(task)
        if worker is None:
            await self._bus.nak(delivery.ack_subject, min(_ANOTHERS_S * delivery.delivered, _ANOTHERS_LONGEST_S))
            return None
        verdict = await self._overseer.may_start(task, worker) if known is None else _GO
        if not verdict.go and verdict.refused is None and not await self._over(task):
            # nothing waits under a lease: it is looked at again soon
            await self._bus.nak(delivery.ack_subject, _UNDECIDED_S)
            return None
        strikes = await self._groups.strikes(task) if known is None and delivery.delivered > 1 else 0
        with self._ledger.together():
            self._ledger.runs.hold(task, worker, delivery.ack_subject, strikes)
            if task_id in self.active:  # the lease had run out (this machine slept): go on under the new one
                return None
            self._outbox.event("delivered", task_id, worker, delivered=delivery.delivered)
            if verdict.refused is not None:
                held = self._ledger.runs.get(task_id)
                self._ledger.runs.advance(task_id, "replied", result(held, "failed", verdict.refused) if held else None)
        return task_id

    async def _over(self, task: Envelope) -> bool:
        """Whether a task has ended or expired while it waited for a person: then it is cleared away. Raises BusAway."""
        if task.expires_at is not None and task.expires_at < now():
            return True
        return await self._ends.read(task.task_id or "", task.sender, task.to) is not None

    def _task(self, delivery: Delivery) -> Envelope:
        """Raises WireError."""
        parsed = self._groups.subjects.parse(delivery.subject)
        task = decode(delivery.data, parsed.sender)
        if task.type != "task" or not task.task_id or parsed.to is None or task.to != parsed.to:
            raise WireError("not a task for the receiver of its subject")
        return task
