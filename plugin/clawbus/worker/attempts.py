"""From a task to its outcome: attempts on a gateway that may die under each of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from clawbus import frames
from clawbus.envelope import MAX_RESULT_BYTES, Envelope, Status
from clawbus.errors import GatewayAway, NotBegun, Refused
from clawbus.events import Kind
from clawbus.gateway import KEY_PREFIX, GatewayRpc, TurnLost, TurnResult, Turns
from clawbus.ledger import Ledger, Run
from clawbus.mailbox import Outbox
from clawbus.show import inert
from clawbus.subjects import new_message_id

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
_PROGRESS_EVERY_S = 1.0
_RESUMES_WITHIN_S = 900.0
_STATUS: dict[str, Status] = {
    "done": "done",
    "failed": "failed",
    "timed_out": "timed_out",
    "aborted": "failed",
}


class Attempts:
    """Runs turns. A strike is an attempt that was started and ended without an outcome; three, and the task is dead."""

    def __init__(self, rpc: GatewayRpc, ledger: Ledger, outbox: Outbox, company: str) -> None:
        self._rpc = rpc
        self._turns = Turns(rpc)
        self._ledger = ledger
        self._outbox = outbox
        self._company = company
        self._interrupted: dict[str, float] = {}  # session key -> until when its gateway may resume it (monotonic s)
        self._strays: set[asyncio.Task[None]] = set()
        self._running: dict[str, Run] = {}
        rpc.listeners.append(self._guard)
        rpc.on_change.append(self._gateway_changed)
        self.on_step: Callable[[str, str], Awaitable[None]] | None = None

    async def outcome(self, run: Run) -> Envelope:
        """Run a task until it has an outcome. Goes on with the attempt that a crash of this node has interrupted."""
        while True:
            try:
                if run.state == "started":  # by an earlier life of this node, perhaps before it came to the call
                    await self._join(run)
                elif run.attempt < MAX_ATTEMPTS:
                    run = await self._start(run)
                else:
                    why = f"{MAX_ATTEMPTS} attempts were started, and each was interrupted"
                    return self._result(run, "dead", why)
                return await self._finish(run)
            except TurnLost:
                log.warning("task %s: attempt %d was interrupted", run.task_id, run.attempt)
                self._beware(run)
                run = _changed(run, state="held")
            except NotBegun:
                run = self._ledger.runs.get(run.task_id) or run
                await asyncio.sleep(1.0)
            except GatewayAway:
                run = self._ledger.runs.get(run.task_id) or run
                await asyncio.sleep(0.2)
            except Refused as refusal:
                return self._result(run, "failed", refusal.message)

    async def _start(self, run: Run) -> Run:
        """One more attempt: first the ledger, then the gateway. Raises NotBegun or GatewayAway."""
        await self._rpc.ready.wait()
        boot_id, key = self._rpc.boot_id, f"{KEY_PREFIX}{uuid.uuid4().hex}"
        if run.attempt:
            self._beware(run)
            await self._turns.abort(run.session_key)
        attempt = self._ledger.runs.starting(run.task_id, key, boot_id)
        await self._step(run.task_id, "started")
        run = _changed(run, state="started", attempt=attempt, key=key, boot_id=boot_id)
        try:
            await self._call(run)
        except NotBegun:
            self._ledger.runs.not_started(run.task_id)
            raise
        kind: Kind = "started" if attempt == 1 else "retrying"
        self._outbox.event(kind, run.task_id, run.worker, attempt=attempt, session=run.session_key)
        return run

    async def _call(self, run: Run) -> None:
        """The call that starts an attempt; a second one with the same key joins it."""
        text = frames.task(run.task, self._company, run.attempt, MAX_ATTEMPTS)
        await self._turns.start(run.worker, run.session_key, text, run.key, run.task.run_timeout_s or 1800)

    async def _join(self, run: Run) -> None:
        """Go on with the attempt of an earlier life of this node. Raises TurnLost or GatewayAway."""
        await self._same_process(run)
        if not await self._turns.begun(run.session_key, run.key):
            await self._call(run)
        self._outbox.event("resumed", run.task_id, run.worker, attempt=run.attempt)

    async def _same_process(self, run: Run) -> None:
        """Wait for the gateway. Raises TurnLost if it is not the process any more in which the attempt was started."""
        await self._rpc.ready.wait()
        if self._rpc.boot_id != run.boot_id:
            raise TurnLost

    async def _finish(self, run: Run) -> Envelope:
        """Wait for the end of an attempt. Raises TurnLost."""
        self._running[run.task_id] = run
        try:
            with self._turns.watching(run.session_key, self._progress(run)):
                turn = await self._turns.wait(run.session_key, run.key, run.boot_id)
        finally:
            self._running.pop(run.task_id, None)
        self._interrupted.pop(run.session_key, None)
        if turn.outcome == "timed_out":
            await self._turns.abort(run.session_key)
        return self._result(run, _STATUS[turn.outcome], _bounded(turn, run))

    async def stop(self, run: Run) -> None:
        """Stop the turn of a task that has ended elsewhere, now and if a gateway resumes it. Raises GatewayAway."""
        if run.boot_id != self._rpc.boot_id:
            self._beware(run)
        await self._turns.abort(run.session_key)

    def _gateway_changed(self, ready: bool) -> None:
        """Say at once that running tasks are interrupted, and whether the same attempt goes on."""
        for run in self._running.values():
            if not ready:
                self._outbox.event(
                    "interrupted", run.task_id, run.worker, attempt=run.attempt, why="its gateway is away"
                )
            elif run.boot_id == self._rpc.boot_id:
                self._outbox.event("resumed", run.task_id, run.worker, attempt=run.attempt)

    def _beware(self, run: Run) -> None:
        self._interrupted[run.session_key] = time.monotonic() + _RESUMES_WITHIN_S

    def _guard(self, name: str, payload: dict[str, Any]) -> None:
        """A restarted gateway resumes interrupted sessions by itself, one after the other: maybe long after our next
        attempt has begun, or its task has ended. Such a run is stopped when it starts. Ours have keys of ours."""
        session, key = str(payload.get("sessionKey")), str(payload.get("runId"))
        starting = payload.get("stream") == "lifecycle" and (payload.get("data") or {}).get("phase") == "start"
        resumed = self._interrupted.get(session, 0.0) > time.monotonic() and not key.startswith(KEY_PREFIX)
        if name != "agent" or not starting or not resumed:
            return
        log.warning("stopping run %s, which the gateway has resumed in %s", key, session)

        async def stop() -> None:
            with contextlib.suppress(GatewayAway):
                await self._turns.abort(session, key)

        stray = asyncio.get_running_loop().create_task(stop())
        self._strays.add(stray)
        stray.add_done_callback(self._strays.discard)

    def _progress(self, run: Run) -> Callable[[str], None]:
        last = 0.0

        def on_item(title: str) -> None:
            nonlocal last
            if time.monotonic() - last >= _PROGRESS_EVERY_S:
                last = time.monotonic()
                self._outbox.event("progress", run.task_id, run.worker, what=_one_line(title), attempt=run.attempt)

        return on_item

    def _result(self, run: Run, status: Status, text: str) -> Envelope:
        task = run.task
        return Envelope(
            id=new_message_id(run.worker),
            type="result",
            sender=run.worker,
            to=task.sender,
            task_id=task.task_id,
            trace_id=task.trace_id,
            subject=task.subject,
            body=text,
            status=status,
            priority=task.priority,
        )

    async def _step(self, task_id: str, name: str) -> None:
        if self.on_step is not None:
            await self.on_step(task_id, name)


def _changed(
    run: Run,
    *,
    state: str | None = None,
    attempt: int | None = None,
    key: str | None = None,
    boot_id: str | None = None,
) -> Run:
    return Run(
        run.task,
        run.worker,
        state or run.state,
        run.ack_subject,
        run.attempt if attempt is None else attempt,
        run.key if key is None else key,
        run.boot_id if boot_id is None else boot_id,
        run.outcome,
    )


def _one_line(title: str) -> str:
    """A tool call's title as an event may carry it: others' text, one line, valid Unicode."""
    return " ".join(inert(title).split())[:120]


def _bounded(turn: TurnResult, run: Run) -> str:
    """The reply, whole. Beyond what a message can hold it is cut where it shows, with where the rest lies."""
    data = turn.text.encode("utf-8", "replace")
    if len(data) <= MAX_RESULT_BYTES:
        return data.decode()
    head = data[:MAX_RESULT_BYTES].decode("utf-8", "ignore")
    return f"{head}\n[cut here: {MAX_RESULT_BYTES} of {len(data)} bytes; the whole stands in session {run.session_key}]"
