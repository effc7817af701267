"""The phase of each run, by the gateway's events: it is being prepared, has come to its model, or failed before that.

Tried with OpenClaw 2026.9.6. To abort a run that is being prepared can close its agent's database to all turns of the
agent, until the process ends (ADR 26). The sign that a model is asked depends on the beginning of the run:

- by `chat.send`: `run_status` `starting_model`;
- by `agent`, or resumed by a restarted gateway: it is a `task` of the gateway, whose first activity comes just before;
- refused by the provider: a `fallback_step` with the code of the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from clawbus.errors import ClawbusError
from clawbus.retry import pause

_OF_THE_MODEL = ("assistant", "thinking", "item", "tool", "command_output", "usage")
"""The streams of a model, and of the tools that it calls."""
_NAMED_BY = {"model": "provider", "fallback_step": "fallbackStepFromFailureReason"}
"""The phases of a `lifecycle` that are about a model, if they have this field."""
_MOST = 2_000
_WHY_CHARS = 500
_STARTS_S = 1.0
"""So long after its `lifecycle` `start` a run without a `run_status` has asked its model."""


@dataclass(slots=True)
class _Run:
    agent: str
    session: str
    began_ms: float
    """The moment of its first event, by the gateway's clock."""
    started: float | None = None
    asked_model: bool = False
    over: bool = False
    """Its last event has come."""
    ended: bool = False
    """The gateway has answered that it has ended."""
    failed_before_model: bool = False


@dataclass(frozen=True, slots=True)
class FailureBeforeModel:
    """A turn that has failed before its model was asked. `why`: the gateway's words, which decide nothing."""

    agent: str
    began_ms: float
    ended_ms: float
    why: str


class RunPhases:
    """The runs of one gateway's process."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, _Run] = OrderedDict()
        self._ending: Counter[str] = Counter()
        self._news = asyncio.Event()
        self.on_model_asked: list[Callable[[str], None]] = []
        """Called with an agent whose turn has come to its model."""
        self.on_failure_before_model: list[Callable[[FailureBeforeModel], None]] = []

    def clear(self) -> None:
        """Forget all runs: the gateway's process is another one."""
        for run in self._runs.values():
            run.over = True
        self._runs.clear()
        self._notify()

    def on_event(self, name: str, payload: dict[str, Any]) -> None:
        """Take in an event of the gateway."""
        if name == "task":
            self._task(payload.get("task") or {})
        elif name == "agent" and payload.get("runId"):
            self._agent(payload)

    def _task(self, task: dict[str, Any]) -> None:
        execution = task.get("execution") or {}
        if not task.get("runId") or task.get("kind") != "cli" or task.get("status") != "running":
            return
        run = self._of(task)
        if execution.get("state") == "running" and execution.get("lastActivityAt") and run.started is None:
            run.started = time.monotonic()
        self._notify()

    def _agent(self, payload: dict[str, Any]) -> None:
        run = self._of(payload)
        stream, data = payload.get("stream"), payload.get("data") or {}
        phase = str(data.get("phase"))
        if stream in _OF_THE_MODEL or (stream == "run_status" and phase in ("starting_model", "retrying")):
            self._has_asked_model(run)
        elif stream == "lifecycle":
            self._lifecycle(run, phase, data)
        self._notify()

    def _lifecycle(self, run: _Run, phase: str, data: dict[str, Any]) -> None:
        if phase == "start":
            run.started = time.monotonic()
        elif phase == "finishing" or (phase in _NAMED_BY and data.get(_NAMED_BY[phase])):
            self._has_asked_model(run)
        elif phase == "end":
            run.over = True
        elif phase == "error" and data.get("executionSettled"):
            self._has_failed(run, data)

    def _has_asked_model(self, run: _Run) -> None:
        if not run.asked_model:
            run.asked_model = True
            for callback in self.on_model_asked:
                callback(run.agent)

    def _has_failed(self, run: _Run, data: dict[str, Any]) -> None:
        was_over, run.over = run.over, True
        if run.asked_model or was_over or data.get("aborted"):
            return
        run.failed_before_model = True
        ended = _number(data.get("endedAt"))
        began = _number(data.get("startedAt")) or run.began_ms
        failure = FailureBeforeModel(run.agent, began, ended, str(data.get("error") or "")[:_WHY_CHARS])
        for callback in self.on_failure_before_model:
            callback(failure)

    def _of(self, payload: dict[str, Any]) -> _Run:
        key, session = str(payload["runId"]), str(payload.get("sessionKey") or "")
        run = self._runs.get(key)
        if run is None:
            agent = str(payload.get("agentId") or session.partition(":")[2].partition(":")[0])
            run = self._runs[key] = _Run(agent, session, _number(payload.get("ts")))
            while len(self._runs) > _MOST:
                self._runs.popitem(last=False)
        return run

    @contextlib.contextmanager
    def beginning(self, key: str, agent: str, session: str) -> Iterator[None]:
        """Begin a run in this block: it is known before its first event, and not if the call is refused."""
        is_new = key not in self._runs
        self._runs.setdefault(key, _Run(agent, session, 0.0))
        try:
            yield
        except ClawbusError:
            if is_new:
                self._runs.pop(key, None)
            raise

    def is_over(self, key: str) -> None:
        """Take in that the gateway has answered that a run has ended. Its events tell how, and may come later."""
        if (run := self._runs.get(key)) is not None:
            run.ended = True
            self._notify()

    # -- asked of one run ---------------------------------------------------------------------------------------------

    def failed_before_model(self, key: str) -> bool | None:
        """True if a run has failed before its model was asked; None if its last event has not come."""
        run = self._runs.get(key)
        return None if run is None or not run.over else run.failed_before_model

    async def prepared(self, session: str, keys: Collection[str], within_s: float) -> None:
        """Wait until no run of a session is being prepared: it has come to its model, or is over. At most `within_s`.

        While one is at work the others wait behind it, unprepared. `keys`: the runs; empty: any run of the session.
        """
        deadline = time.monotonic() + within_s
        while not self._none_in_preparation(session, keys) and (left_s := deadline - time.monotonic()) > 0:
            await pause(self._news, min(left_s, _STARTS_S / 4))

    def _none_in_preparation(self, session: str, keys: Collection[str]) -> bool:
        known = [self._runs.get(key) for key in keys]
        if known and all(run is not None and (_is_past(run) or _at_work(run)) for run in known):
            return True
        return any(run.session == session and not _is_past(run) and _at_work(run) for run in self._runs.values())

    def open_in(self, session: str) -> set[str]:
        """The runs of a session that are known and not over."""
        return {key for key, run in self._runs.items() if run.session == session and not _is_past(run)}

    # -- sessions being ended -----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def ending(self, session: str) -> Iterator[None]:
        """Mark a session while the block ends what runs there: it may call no tool any more."""
        self._ending[session] += 1
        try:
            yield
        finally:
            self._ending[session] -= 1
            if not self._ending[session]:
                del self._ending[session]

    def is_ending(self, session: str) -> bool:
        """True while somebody ends what runs in a session."""
        return session in self._ending

    def _notify(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


def _at_work(run: _Run) -> bool:
    return run.asked_model or (run.started is not None and time.monotonic() - run.started > _STARTS_S)


def _is_past(run: _Run) -> bool:
    return run.over or run.ended


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
