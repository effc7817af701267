"""The worker of a gateway: slots, leases, and the order of writes.

For each task: the reply into the ledger, the end (which carries the outcome), the result to the requester, the ack. A
crash after any of these is completed at the next start from the state in the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from clawbus.bus import Bus, Delivery, End, Ends, Taker
from clawbus.envelope import Envelope, decode, now
from clawbus.errors import BusAway, GatewayAway, WireError
from clawbus.gateway import GatewayRpc
from clawbus.ledger import Ledger, Run
from clawbus.mailbox import Outbox
from clawbus.subjects import Subjects, new_message_id
from clawbus.worker.attempts import Attempts

log = logging.getLogger(__name__)
_RETRY_S = 0.5
_LONGEST_S = 30.0


class Worker:
    """Takes tasks for the agents of one gateway while that gateway is ready."""

    def __init__(
        self,
        bus: Bus,
        rpc: GatewayRpc,
        ledger: Ledger,
        outbox: Outbox,
        ends: Ends,
        subjects: Subjects,
        gateway: str,
        slots: int,
    ) -> None:
        self._bus = bus
        self._rpc = rpc
        self._ledger = ledger
        self._outbox = outbox
        self._ends = ends
        self._subjects = subjects
        self._gateway = gateway
        self._free = asyncio.Semaphore(slots)
        self._active: dict[str, asyncio.Task[Envelope] | None] = {}
        self.attempts = Attempts(rpc, ledger, outbox, subjects.company)
        self.on_step: Callable[[str, str], Awaitable[None]] | None = None

    @property
    def busy(self) -> int:
        """Tasks that are held now."""
        return len(self._active)

    async def run(self) -> None:
        """Finish what a crash has left, then take and do tasks, until cancelled."""
        async with asyncio.TaskGroup() as group, Taker(self._bus, self._gateway) as taker:
            for run in self._ledger.runs.unfinished():
                slot = None if self._free.locked() else self._free
                if slot is not None:
                    await slot.acquire()
                if run.state == "started":
                    self._outbox.event("interrupted", run.task_id, run.worker, why="its node was restarted")
                self._active[run.task_id] = None
                group.create_task(self._work(run.task_id, slot), name=f"resume-{run.task_id}")
            while True:
                await self._free.acquire()
                delivery = await self._next(taker)
                task_id = await self._accept_or_leave(delivery)
                if task_id is None:
                    self._free.release()
                    continue
                self._active[task_id] = None
                group.create_task(self._work(task_id, self._free), name=f"task-{task_id}")

    async def _next(self, taker: Taker) -> Delivery:
        """The next task, taken only while the gateway is ready."""
        while True:
            await self._rpc.ready.wait()
            taking = asyncio.create_task(taker.take())
            leaving = asyncio.create_task(self._rpc.gone.wait())
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

    async def _accept_or_leave(self, delivery: Delivery) -> str | None:
        try:
            return await self._accept(delivery)
        except BusAway:  # it comes again when its lease is over
            return None

    async def _accept(self, delivery: Delivery) -> str | None:
        """Put a delivery into the ledger. None if there is nothing to do for it: malformed, done, or running."""
        try:
            parsed = self._subjects.parse(delivery.subject)
            task = decode(delivery.data, parsed.sender)
            if task.type != "task" or not task.task_id or task.to != parsed.to or parsed.to is None:
                raise WireError("not a task for the agent of its subject")
        except WireError as error:
            log.warning("task message %d refused: %s", delivery.stream_seq, error)
            await self._bus.term(delivery.ack_subject, str(error)[:200])
            return None
        known = self._ledger.runs.get(task.task_id)
        if known is not None and known.state == "closed":
            await self._try_ack(delivery.ack_subject)
            return None
        with self._ledger.together():
            self._ledger.runs.hold(task, parsed.to, delivery.ack_subject)
            if task.task_id in self._active:  # the lease had run out (this machine slept): go on under the new one
                return None
            self._outbox.event("delivered", task.task_id, parsed.to, delivered=delivery.delivered)
        await self._step(task.task_id, "held")
        return task.task_id

    async def _work(self, task_id: str, slot: asyncio.Semaphore | None) -> None:
        """Take a task to its close, however long what it needs is away: the lease is kept meanwhile."""
        pause_s = _RETRY_S
        try:
            while (run := self._ledger.runs.get(task_id)) is not None and run.state != "closed":
                try:
                    await self._advance(run)
                    pause_s = _RETRY_S
                except BusAway:
                    await asyncio.sleep(_RETRY_S)
                except Exception:
                    log.exception("task %s cannot go on from %r; it is tried again", task_id, run.state)
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, _LONGEST_S)
        finally:
            self._active.pop(task_id, None)
            if slot is not None:
                slot.release()

    async def _advance(self, run: Run) -> None:
        """One step of the order of writes. Each can be repeated."""
        if run.state in ("held", "started"):
            await self._to_outcome(run)
        elif run.state == "replied" and run.outcome is not None:
            _, end = await self._ends.write(run.outcome, run.task.sender, run.worker)
            with self._ledger.together():
                self._ledger.runs.advance(run.task_id, "ended", end.envelope)
                self._outbox.event("ended", run.task_id, run.worker, status=end.status, by=end.by)
        elif run.state == "ended" and run.outcome is not None:
            await self._tell_requester(run, run.outcome)
            self._ledger.runs.advance(run.task_id, "told")
        else:
            await self._bus.ack(run.ack_subject)
            self._ledger.runs.advance(run.task_id, "closed")
        after = self._ledger.runs.get(run.task_id)
        await self._step(run.task_id, after.state if after else "")

    async def _to_outcome(self, run: Run) -> None:
        """Run the task, unless it has an end already or its time is over."""
        if (end := await self._ends.read(run.task_id, run.task.sender, run.worker)) is not None:
            await self._drop(run, end)
        elif run.task.expires_at is not None and run.task.expires_at < now() and run.state == "held":
            late = Envelope(
                id=new_message_id(run.worker),
                type="result",
                sender=run.worker,
                to=run.task.sender,
                task_id=run.task_id,
                status="timed_out",
                body="it had expired before a turn was free",
            )
            self._ledger.runs.advance(run.task_id, "replied", late)
        else:
            attempt = asyncio.create_task(self.attempts.outcome(run), name=f"turn-{run.task_id}")
            self._active[run.task_id] = attempt
            try:
                self._ledger.runs.advance(run.task_id, "replied", await attempt)
            except asyncio.CancelledError:
                attempt.cancel()
                if (asyncio.current_task() or attempt).cancelling():
                    raise  # this node is stopping; the gateway's turn goes on, and so does the next start
            finally:
                self._active[run.task_id] = None

    async def _drop(self, run: Run, end: End) -> None:
        """Somebody has ended the task: stop its turn if there is one, and go on with what is left to do."""
        if run.state == "started":
            try:
                await self.attempts.stop(run)
            except GatewayAway:
                await self._rpc.ready.wait()
                return
        self._ledger.runs.advance(run.task_id, "ended", end.envelope)
        self._outbox.event("ended", run.task_id, run.worker, status=end.status, by=end.by)

    async def _tell_requester(self, run: Run, end: Envelope) -> None:
        """The result to the inbox of who asked; not to him who ended it himself. Raises BusAway."""
        if end.sender == run.task.sender:
            return
        copy = end.model_copy(
            update={
                "sender": run.worker,
                "to": run.task.sender,
                "id": end.id if end.sender == run.worker else f"{run.worker}-{run.task_id}",
            }
        )
        await self._bus.publish(self._subjects.dm(run.task.sender, run.worker), copy.encode(), msg_id=copy.id)

    async def control(self, delivery: Delivery) -> None:
        """A control message: look at the end of that task, and stop its turn if it has one. Its words do not count."""
        try:
            note = decode(delivery.data, self._subjects.parse(delivery.subject).sender)
        except WireError as error:
            await self._bus.term(delivery.ack_subject, str(error)[:200])
            return
        run = self._ledger.runs.get(note.task_id or "")
        if run is not None and run.state in ("held", "started"):
            end = await self._ends.read(run.task_id, run.task.sender, run.worker)
            attempt = self._active.get(run.task_id)
            if end is not None and attempt is not None:
                attempt.cancel()  # _work reads the end next, and stops the turn
        await self._bus.ack(delivery.ack_subject)

    async def keep_leases(self, period_s: float) -> None:
        """Renew the lease of every task that is held, until cancelled."""
        while True:
            await asyncio.sleep(period_s)
            try:
                for run in self._ledger.runs.unfinished():
                    await self._bus.renew(run.ack_subject)
            except BusAway:
                log.debug("leases wait for the bus")

    async def _try_ack(self, ack_subject: str) -> None:
        with contextlib.suppress(BusAway):
            await self._bus.ack(ack_subject)

    async def _step(self, task_id: str, name: str) -> None:
        """A place where tests stop the process; nothing listens otherwise."""
        if self.on_step is not None:
            await self.on_step(task_id, name)
