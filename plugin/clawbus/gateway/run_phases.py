"""What a gateway's events tell of its runs: which are being prepared, which have come to their model, which never did.

Tried with OpenClaw 2026.9.6. While a run is prepared, its agent's database works for it; to abort it then can close
that database to all turns of the agent until the process ends (ADR 26). A turn that was begun with `chat.send` says
`run_status` `starting_model` when its model is asked. One that was begun with `agent`, or that a restarted gateway has
resumed, is a `task` of the gateway, whose first activity comes just before. What a provider refuses is a
`fallback_step` that bears the reason's code, and so a word about the model, too.
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

_OF_THE_MODEL = ("assistant", "thinking", "item", "tool", "command_output", "usage")
"""Streams in which a model, or a tool that it has called, is heard."""
_NAMED_BY = {"model": "provider", "fallback_step": "fallbackStepFromFailureReason"}
"""Phases of a `lifecycle` that tell of a model, where they name this."""
_MOST = 2_000
_WHY_CHARS = 500
_STARTS_S = 1.0
"""After its `lifecycle` `start` a run without a `run_status` has asked its model."""


@dataclass(slots=True)
class _Run:
    agent: str
    session: str
    began_ms: float
    """By the gateway's clock: of the first event that was heard."""
    started: float | None = None
    asked: bool = False
    over: bool = False
    """Its last event was heard."""
    ended: bool = False
    fell: bool = False


@dataclass(frozen=True, slots=True)
class Fall:
    """A turn that has failed before its model was asked. `why`: the gateway's words, which decide nothing."""

    agent: str
    began_ms: float
    ended_ms: float
    why: str


class RunPhases:
    """Hears all events of one gateway; forgets all when another process takes its place."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, _Run] = OrderedDict()
        self._ending: Counter[str] = Counter()
        self._news = asyncio.Event()
        self.on_asked: list[Callable[[str], None]] = []
        """Called with an agent whose turn has come to its model."""
        self.on_fall: list[Callable[[Fall], None]] = []

    def clear(self) -> None:
        """The gateway's process is another one."""
        for run in self._runs.values():
            run.over = True
        self._runs.clear()
        self._tell()

    def on_event(self, name: str, payload: dict[str, Any]) -> None:
        """An event of the gateway."""
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
        self._tell()

    def _agent(self, payload: dict[str, Any]) -> None:
        run = self._of(payload)
        stream, data = payload.get("stream"), payload.get("data") or {}
        phase = str(data.get("phase"))
        if stream in _OF_THE_MODEL or (stream == "run_status" and phase in ("starting_model", "retrying")):
            self._has_asked(run)
        elif stream == "lifecycle":
            self._lifecycle(run, phase, data)
        self._tell()

    def _lifecycle(self, run: _Run, phase: str, data: dict[str, Any]) -> None:
        if phase == "start":
            run.started = time.monotonic()
        elif phase == "finishing" or (phase in _NAMED_BY and data.get(_NAMED_BY[phase])):
            self._has_asked(run)
        elif phase == "end":
            run.over = True
        elif phase == "error" and data.get("executionSettled"):
            self._has_failed(run, data)

    def _has_asked(self, run: _Run) -> None:
        if not run.asked:
            run.asked = True
            for callback in self.on_asked:
                callback(run.agent)

    def _has_failed(self, run: _Run, data: dict[str, Any]) -> None:
        was_over, run.over = run.over, True
        if run.asked or was_over or data.get("aborted"):
            return
        run.fell = True
        ended = _number(data.get("endedAt"))
        began = _number(data.get("startedAt")) or run.began_ms
        fall = Fall(run.agent, began, ended, str(data.get("error") or "")[:_WHY_CHARS])
        for callback in self.on_fall:
            callback(fall)

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
        """Around the call that begins a run: it is known before its first event, and not if the call was refused."""
        is_new = key not in self._runs
        self._runs.setdefault(key, _Run(agent, session, 0.0))
        try:
            yield
        except ClawbusError:
            if is_new:
                self._runs.pop(key, None)
            raise

    def is_over(self, key: str) -> None:
        """The gateway has said that a run has ended; its own events say how, and may still come."""
        if (run := self._runs.get(key)) is not None:
            run.ended = True
            self._tell()

    # -- asked of one run ---------------------------------------------------------------------------------------------

    def fell(self, key: str) -> bool | None:
        """Whether a run has failed before its model was asked; None if its end was not heard."""
        run = self._runs.get(key)
        return None if run is None or not run.over else run.fell

    async def prepared(self, session: str, keys: Collection[str], within_s: float) -> None:
        """Wait until runs of a session have come to their model, or are over; at most `within_s`.

        Where one is at work the others wait behind it, and none is being prepared. No `keys`: for some run of it.
        """
        deadline = time.monotonic() + within_s
        while not self._none_is_prepared(session, keys) and (left_s := deadline - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left_s, _STARTS_S / 4)):
                    await self._news.wait()

    def _none_is_prepared(self, session: str, keys: Collection[str]) -> bool:
        known = [self._runs.get(key) for key in keys]
        if known and all(run is not None and (_is_past(run) or _at_work(run)) for run in known):
            return True
        return any(run.session == session and not _is_past(run) and _at_work(run) for run in self._runs.values())

    def open_in(self, session: str) -> set[str]:
        """The runs of a session that are heard of and not known to be over."""
        return {key for key, run in self._runs.items() if run.session == session and not _is_past(run)}

    # -- what is being ended ------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def ending(self, session: str) -> Iterator[None]:
        """What runs in a session is being ended while the block runs: it may call no tool any more."""
        self._ending[session] += 1
        try:
            yield
        finally:
            self._ending[session] -= 1
            if not self._ending[session]:
                del self._ending[session]

    def is_ending(self, session: str) -> bool:
        return session in self._ending

    def _tell(self) -> None:
        announcements, self._news = self._news, asyncio.Event()
        announcements.set()


def _at_work(run: _Run) -> bool:
    return run.asked or (run.started is not None and time.monotonic() - run.started > _STARTS_S)


def _is_past(run: _Run) -> bool:
    return run.over or run.ended


def _number(said: object) -> float:
    return float(said) if isinstance(said, int | float) else 0.0
