"""From a task to its outcome: attempts on a gateway that may die under each of them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import replace

from clawbus.errors import GatewayAway, NotBegun, Refused
from clawbus.gateway import KEY_PREFIX, Fitness, GatewayRpc, TurnLost, Turns
from clawbus.node.ledger import Ledger, Run
from clawbus.node.mailbox import Attachments, Outbox
from clawbus.node.prompts import frames
from clawbus.node.signals import Probe, no_probe
from clawbus.node.worker.blocker_wait import BlockerWait
from clawbus.node.worker.executor import Slots, bounded, result
from clawbus.node.worker.insights import Insights
from clawbus.node.worker.resumed_runs import ResumedRuns
from clawbus.node.worker.steering import Steering
from clawbus.org import Org
from clawbus.org.tool_bounds import bound_of
from clawbus.wire.envelope import Envelope, Status
from clawbus.wire.events import Kind
from clawbus.wire.sanitize import inert

log = logging.getLogger(__name__)

_PROGRESS_EVERY_S = 1.0
_HALT_S = 2.0
"""A stop by a person waits so long for a run that is being prepared: it has to be obeyed within 5 s."""
_MOST_FALLS = 8
_REASON_CHARS = 300
_FELL = "its gateway failed the turn before the model was asked; it is tried again"
_ANEW = (
    "\n\nA person stopped the company while you were at this task, and your turn was ended. It begins anew now: look "
    "at what you had already changed before you change it again."
)
_STATUS: dict[str, Status] = {
    "done": "done",
    "failed": "failed",
    "timed_out": "timed_out",
    "aborted": "failed",
}


class OpenClawExecutor:
    """Runs turns: the executor of an OpenClaw gateway. After `strikes` attempts without an outcome a task is dead."""

    def __init__(  # noqa: PLR0913 - each is a part of its own
        self,
        rpc: GatewayRpc,
        fitness: Fitness,
        ledger: Ledger,
        outbox: Outbox,
        steering: Steering,
        files: Attachments,
        org: Org,
        *,
        insights: Insights,
        slots: Slots,
        probe: Probe = no_probe,
    ) -> None:
        self._rpc = rpc
        self._fitness = fitness
        self._turns = Turns(rpc)
        self._ledger = ledger
        self._outbox = outbox
        self._steering = steering
        self._files = files
        self._insights = insights
        self._slots = slots
        self._probe = probe
        self._blocker_wait = BlockerWait(self._turns, ledger, outbox, slots)
        self._org = org
        self._strikes = org.policies.strikes
        self.ready, self.gone, self.on_change = rpc.ready, rpc.gone, rpc.on_change
        self._running: dict[str, Run] = {}
        self._falls: dict[str, tuple[int, float]] = {}  # task id -> how often, and since when (monotonic s)
        self._resumed_runs = ResumedRuns(self._turns, self._key_in)
        rpc.listeners.append(self._resumed_runs.on_event)
        rpc.on_change.append(self._gateway_changed)

    async def outcome(self, run: Run) -> Envelope:
        """Run a task until it has an outcome. Goes on with the attempt that a crash of this node has interrupted."""
        try:
            return await self._until_outcome(run)
        finally:
            self._falls.pop(run.task_id, None)

    async def _until_outcome(self, run: Run) -> Envelope:
        while True:
            try:
                if run.state == "started":  # by an earlier life of this node, perhaps before it came to the call
                    await self._join(run)
                elif run.attempt < self._strikes:
                    run = await self._start(run)
                else:
                    return result(run, "dead", f"{run.attempt} attempts were started, and each was interrupted")
                return await self._finish(run)
            except TurnLost:
                log.warning("task %s: attempt %d was interrupted", run.task_id, run.attempt)
                self._resumed_runs.expect(run.session_key)
                run = replace(run, state="held")
            except NotBegun:
                run = self._ledger.runs.get(run.task_id) or run
                await asyncio.sleep(1.0)
            except GatewayAway:
                run = self._ledger.runs.get(run.task_id) or run
                await asyncio.sleep(0.2)
            except Refused as refusal:
                return result(run, "failed", refusal.message)

    async def _start(self, run: Run) -> Run:
        """One more attempt: first the ledger, then the gateway. Raises NotBegun, GatewayAway or BusAway."""
        if not self._fitness.fit(run.worker):
            self._slots.release(run.task_id)
        await self._fitness.admit(run.worker)
        await self._rpc.ready.wait()
        key = f"{KEY_PREFIX}{uuid.uuid4().hex}"
        files = await self._files.of(run.worker, run.task, key=key)
        boot_id = self._rpc.boot_id
        if run.attempt:
            self._resumed_runs.expect(run.session_key)
            await self._turns.abort(run.session_key)
        self._ledger.raised.begin_anew(run.session_key)
        attempt = self._ledger.runs.starting(run.task_id, key, boot_id)
        await self._probe(run.task_id, "started")
        run = replace(run, state="started", attempt=attempt, key=key, boot_id=boot_id)
        try:
            await self._call(run, files, fresh=True)
        except NotBegun:
            self._ledger.runs.not_started(run.task_id)
            raise
        kind: Kind = "started" if attempt == 1 else "retrying"
        self._outbox.event(kind, run.task_id, run.worker, attempt=attempt, session=run.session_key)
        return run

    async def _call(self, run: Run, files: str, fresh: bool) -> None:
        """The call that starts an attempt; a second one with the same key (not `fresh`) joins it."""
        known = await self._insights.below(run.task)
        text = frames.task(run.task, self._org.company, run.attempt, self._strikes, run.key, known)
        text += frames.tools(bound_of(self._org, run.task), run.key) + files
        text += (_ANEW if self._ledger.cut.has(run.session_key) else "") + self._steering.opening(run, fresh)
        await self._turns.start(run.worker, run.session_key, text, run.key, run.task.run_timeout_s or 1800)

    async def _join(self, run: Run) -> None:
        """Go on with the attempt of an earlier life of this node. Raises TurnLost, GatewayAway or BusAway."""
        await self._same_process(run)
        if not await self._turns.has_started(run.session_key, run.key):
            await self._call(run, await self._files.of(run.worker, run.task, key=run.key), fresh=False)
        self._outbox.event("resumed", run.task_id, run.worker, attempt=run.attempt)

    async def _same_process(self, run: Run) -> None:
        """Wait for the gateway. Raises TurnLost if it is not the process any more in which the attempt was started."""
        await self._rpc.ready.wait()
        if self._rpc.boot_id != run.boot_id:
            raise TurnLost

    async def _finish(self, run: Run) -> Envelope:
        """Wait for the end of an attempt. Raises TurnLost, or NotBegun if it never came to its model."""
        self._running[run.task_id] = run
        attending = asyncio.create_task(self._steering.attend(run), name=f"steering-{run.task_id}")
        steered = functools.partial(self._ledger.steers.was_heard, run.task_id)
        try:
            with self._turns.watching(run.session_key, self._progress(run)):
                turn = await self._turns.wait(run.session_key, run.key, run.boot_id, steered)
        except TurnLost:
            await self._unless_it_fell(run)
            raise
        finally:
            attending.cancel()
            self._running.pop(run.task_id, None)
        await asyncio.gather(attending, return_exceptions=True)
        if turn.outcome == "failed":
            await self._unless_it_fell(run)
        if turn.idle and (self._resumed_runs.expected(run.session_key) or self._ledger.cut.has(run.session_key)):
            raise TurnLost  # so a turn ends that begins where another one of its session was stopped a moment ago
        turn = await self._blocker_wait.last_word(run, turn)
        self._resumed_runs.at_rest(run.session_key)
        if await self._steering.close(run) or turn.outcome == "timed_out":
            self._resumed_runs.expect(run.session_key)
            with contextlib.suppress(GatewayAway):  # what has gone with it needs no stop, and the result is here
                await self._turns.abort(run.session_key)
        return result(run, _STATUS[turn.outcome], bounded(turn.text, f"the whole stands in session {run.session_key}"))

    async def _unless_it_fell(self, run: Run) -> None:
        """Raises NotBegun if the turn has failed before its model was asked: it is the gateway's fault, and no strike.

        Unless it is the task's: again and again, while others of its agent come to their model. Raises GatewayAway.
        """
        if not await self._turns.failed_before_model(run.session_key, run.key):
            return
        count, since = self._falls.get(run.task_id, (0, time.monotonic()))
        self._falls[run.task_id] = (count + 1, since)
        if count + 1 >= _MOST_FALLS and self._fitness.asked_since(run.worker, since):
            return
        said = await self._turns.reason(run.session_key, run.key)
        why = f"{_FELL}. It says: {_one_line(said, _REASON_CHARS)}" if said else _FELL
        with self._ledger.together():
            self._ledger.runs.not_started(run.task_id)
            self._outbox.event("interrupted", run.task_id, run.worker, attempt=run.attempt, why=why)
        raise NotBegun(_FELL, "Look at the gateway's log.")

    async def stop(self, run: Run) -> None:
        """Stop the turn of a task that has ended elsewhere, now and if a gateway resumes it. Raises GatewayAway."""
        if run.boot_id != self._rpc.boot_id:
            self._resumed_runs.expect(run.session_key)
        await self._turns.abort(run.session_key)

    async def halt(self, run: Run) -> None:
        """See `Executor`. A turn that has ended by itself keeps its outcome, which is fetched when the task goes on.

        The answer to an abort may be lost, or this node dies before it is written down; the next one stops nothing.
        """
        if run.boot_id != self._rpc.boot_id:
            self._resumed_runs.expect(run.session_key)
        aborted = await self._turns.abort(run.session_key, within_s=_HALT_S)
        aborted = aborted or await self._turns.was_aborted(run.key)
        if aborted or not await self._turns.has_started(run.session_key, run.key):
            with self._ledger.together():
                self._ledger.cut.add(run.session_key, run.worker, of_task=True)
                self._ledger.runs.not_started(run.task_id)

    def _gateway_changed(self, ready: bool) -> None:
        """Say at once that running tasks are interrupted, and whether the same attempt goes on."""
        for run in self._running.values():
            if not ready:
                self._outbox.event(
                    "interrupted", run.task_id, run.worker, attempt=run.attempt, why="its gateway is away"
                )
            elif run.boot_id == self._rpc.boot_id:
                self._outbox.event("resumed", run.task_id, run.worker, attempt=run.attempt)

    def _key_in(self, session: str) -> str | None:
        """The key of our attempt that is under way in a session."""
        return next((run.key for run in self._running.values() if run.session_key == session), None)

    def _progress(self, run: Run) -> Callable[[str], None]:
        last = 0.0

        def on_item(title: str) -> None:
            nonlocal last
            if time.monotonic() - last >= _PROGRESS_EVERY_S:
                last = time.monotonic()
                self._outbox.event("progress", run.task_id, run.worker, what=_one_line(title), attempt=run.attempt)

        return on_item


def _one_line(text: str, most_chars: int = 120) -> str:
    """A tool call's title, or a gateway's words, as an event may carry it: others' text, one line, valid Unicode."""
    return inert(" ".join(text.split()), lines=False)[:most_chars]
