"""The worker of a gateway or a program: slots, leases, and the order of writes. An `Executor` does the tasks.

For each task: the reply into the ledger, the dead letter if it is dead, the end (which carries the outcome), the result
to the requester, the ack. A crash after any of these is completed at the next start from the state in the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import datetime

from clawbus.bus import Bus, TaskConsumer
from clawbus.errors import BusAway, GatewayAway, Refused
from clawbus.node.ledger import Ledger, Run
from clawbus.node.mailbox import Outbox
from clawbus.node.signals import Probe, no_probe
from clawbus.node.worker.artifact_check import ArtifactCheck
from clawbus.node.worker.executor import Slots, WorkerExecutor, result
from clawbus.node.worker.groups import Groups
from clawbus.node.worker.intake import Intake
from clawbus.node.worker.oversight import OversightGate
from clawbus.node.worker.result_sender import ResultSender
from clawbus.org import Org
from clawbus.retry import Backoff
from clawbus.tasks import History
from clawbus.tasks.artifacts import Store
from clawbus.tasks.dead_letters import DeadLetters
from clawbus.tasks.ends import End, Ends
from clawbus.wire.envelope import Artifact
from clawbus.wire.subjects import Subjects

log = logging.getLogger(__name__)
_RETRY_S = 0.5
_LONGEST_S = 30.0
_GIVE_BACK_S = 3.0
_UNDECIDED_S = 2.0


class Worker:
    """Takes tasks for the agents of one gateway while their executor is ready."""

    def __init__(  # noqa: PLR0913 - each is a part of its own
        self,
        bus: Bus,
        task_consumer: TaskConsumer,
        slots: Slots,
        executor: WorkerExecutor,
        ledger: Ledger,
        outbox: Outbox,
        org: Org,
        gateway: str,
        *,
        probe: Probe = no_probe,
    ) -> None:
        self._bus = bus
        self._executor = executor
        self._ledger = ledger
        self._outbox = outbox
        self._subjects = Subjects(org.company)
        self._ends = Ends(bus, self._subjects, org.may_end, org.may_take)
        self._dead = DeadLetters(bus, self._subjects)
        self._proof = ArtifactCheck(Store(bus, self._subjects))
        self._result_sender = ResultSender(bus, org)
        history = History(bus, org)
        self._groups = Groups(org, gateway, ledger, history)
        self._slots = slots
        self._probe = probe
        self._resuming: set[str] = set()
        self._oversight_gate = OversightGate(org, outbox, history)
        self._intake = Intake(
            bus, task_consumer, executor, ledger, outbox, self._groups, self._oversight_gate, self._ends
        )
        self._active = self._intake.active

    async def has_passed(self, moment: datetime | None) -> bool:
        """True if a moment is over by the server's clock. Raises BusAway."""
        return await self._intake.clock.has_passed(moment)

    def load(self) -> dict[str, int]:
        """The number of tasks that each agent has in hand."""
        return self._ledger.runs.load()

    async def run(self) -> None:
        """Finish what a crash has left, then take and do tasks, until cancelled."""
        async with asyncio.TaskGroup() as group, self._intake:
            for run in self._ledger.runs.unfinished():
                await self._slots.resume(run.task_id)
                self._resuming.add(run.task_id)
                self._active[run.task_id] = None
                group.create_task(self._work(run.task_id), name=f"resume-{run.task_id}")
            while True:
                await self._slots.acquire()
                task_id = await self._intake.next()
                await self._probe(task_id, "held")
                self._active[task_id] = None
                self._slots.assign(task_id)
                group.create_task(self._work(task_id), name=f"task-{task_id}")

    async def _work(self, task_id: str) -> None:
        """Take a task to its close, however long what it needs is away: the lease is kept meanwhile."""
        backoff = Backoff(_RETRY_S, _LONGEST_S)
        try:
            while (run := self._ledger.runs.get(task_id)) is not None and run.state != "closed":
                try:
                    await self._advance(run)
                    backoff.reset()
                except BusAway:
                    await asyncio.sleep(_RETRY_S)
                except Exception:
                    log.exception("task %s cannot go on from %r; it is tried again", task_id, run.state)
                    await backoff.wait()
        finally:
            self._active.pop(task_id, None)
            self._slots.release(task_id)

    async def _advance(self, run: Run) -> None:
        """One step of the order of writes. Each can be repeated."""
        if run.state in ("held", "started"):
            if await self._is_ours(run):
                await self._to_outcome(run)
        elif run.state == "replied" and run.outcome is not None:
            if not await self._may_report(run, files := self._ledger.attached.of(run.task_id)):
                return
            proven = await self._proof.of(run.outcome, files)
            await self._dead.before(proven, run.task, run.worker, run.signed)
            _, end = await self._ends.write(proven, run.task.sender, run.task.to)
            with self._ledger.together():
                self._ledger.runs.advance(run.task_id, "ended", end.envelope)
                self._outbox.event("ended", run.task_id, run.worker, status=end.status, by=end.by)
        elif run.state == "ended" and run.outcome is not None:
            self._slots.release(run.task_id)  # its turn is over: a full inbox keeps nobody else from his
            await self._result_sender.tell(run, run.outcome, run.task_id in self._resuming)
            self._ledger.runs.advance(run.task_id, "told")
        else:
            with contextlib.suppress(Refused):  # its agent has left that pool: whoever gets it next finds the end
                await self._bus.ack(run.ack_subject)
            self._ledger.runs.advance(run.task_id, "closed")
        after = self._ledger.runs.get(run.task_id)
        await self._probe(run.task_id, after.state if after else "")

    async def _may_report(self, run: Run, files: tuple[Artifact, ...]) -> bool:
        """False as long as a person who wants to see the report has not decided, unless it has ended otherwise."""
        verdict = await self._oversight_gate.may_report(run, files)
        if verdict.go or await self._ends.read(run.task_id, run.task.sender, run.task.to) is not None:
            return True
        if verdict.refused is not None:
            self._ledger.without_files(run.task_id, result(run, verdict.status, verdict.refused))
        else:
            self._slots.release(run.task_id)
            await asyncio.sleep(_UNDECIDED_S)
        return False

    async def _is_ours(self, run: Run) -> bool:
        """After a restart: False if another member of the group has got the task since. Then it is let go, unacked."""
        if run.task_id not in self._resuming:
            return True
        if await self._groups.taken_since(run):
            if await self._stopped(run):
                log.info("task %s for %s is not ours any more", run.task_id, run.task.to)
                self._ledger.runs.forget(run.task_id)
            return False
        if run.state == "started":
            self._outbox.event("interrupted", run.task_id, run.worker, why="its node was restarted")
        self._resuming.discard(run.task_id)
        return True

    async def _to_outcome(self, run: Run) -> None:
        """Run the task, unless it has an end already or its time is over."""
        if (end := await self._ends.read(run.task_id, run.task.sender, run.task.to)) is not None:
            await self._drop(run, end)
        elif run.state == "held" and await self.has_passed(run.task.expires_at):
            late = result(run, "timed_out", "it had expired before a turn was free")
            self._ledger.runs.advance(run.task_id, "replied", late)
        else:
            attempt = asyncio.create_task(self._executor.outcome(run), name=f"turn-{run.task_id}")
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
        if not await self._stopped(run):
            return
        self._ledger.runs.advance(run.task_id, "ended", end.envelope)
        self._outbox.event("ended", run.task_id, run.worker, status=end.status, by=end.by)

    async def _stopped(self, run: Run) -> bool:
        """Stop what is being done for a task. False if the gateway has to be waited for: then look again."""
        if run.state == "started":
            try:
                await self._executor.stop(run)
            except GatewayAway:
                await self._executor.ready.wait()
                return False
        return True

    async def look_at_end(self, task_id: str) -> None:
        """If a task has an end, stop its turn. Raises BusAway."""
        run = self._ledger.runs.get(task_id)
        if run is not None and run.state in ("held", "started"):
            end = await self._ends.read(run.task_id, run.task.sender, run.task.to)
            attempt = self._active.get(run.task_id)
            if end is not None and attempt is not None:
                attempt.cancel()  # _work reads the end next, and stops the turn

    async def give_back(self) -> None:
        """At a stop: what a group has given, and what is not being done now, goes to another member at once."""
        runs = [run for run in self._ledger.runs.unfinished() if run.state == "held"]
        runs = [run for run in runs if self._groups.is_group(run.task.to)]
        for run in runs:
            self._outbox.event("interrupted", run.task_id, run.worker, why="its worker was stopped", given_back=True)
        with contextlib.suppress(BusAway, TimeoutError):
            async with asyncio.timeout(_GIVE_BACK_S):
                await self._outbox.drain()
                for run in runs:
                    await self._bus.nak(run.ack_subject)
                    self._ledger.runs.forget(run.task_id)
                await self._bus.flush()

    async def keep_leases(self, period_s: float) -> None:
        """Renew the lease of every task that is held, until cancelled."""
        while True:
            await asyncio.sleep(period_s)
            try:
                for run in self._ledger.runs.unfinished():
                    await self._bus.renew(run.ack_subject)
            except BusAway:
                log.debug("leases wait for the bus")
