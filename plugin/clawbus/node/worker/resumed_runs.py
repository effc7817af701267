"""Runs that a restarted gateway begins by itself in sessions of the bus: each is stopped at its first sign.

OpenClaw resumes interrupted sessions one after the other: maybe long after our next attempt has begun, or its task has
ended. Such a run has no lifecycle start, and a UUID for an id; before its model says a word, it is heard of as a `task`
of the gateway. A UUID has our own attempt, too, where it had to wait behind it: its line in the transcript has our key,
that of a resumed run has the run's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from clawbus.errors import GatewayAway
from clawbus.gateway import KEY_PREFIX, Turns

log = logging.getLogger(__name__)

_RESUMES_WITHIN_S = 900.0
_BEGINS_WITHIN_S = 5.0  # between the first sign of a run and the line in the transcript that opens it
_LOOK_S = 0.1


class ResumedRuns:
    """Of one gateway. `mine`: session -> the key of our attempt that is under way there, if one is."""

    def __init__(self, turns: Turns, mine: Callable[[str], str | None]) -> None:
        self._turns = turns
        self._mine = mine
        self._until: dict[str, float] = {}  # session key -> until when its gateway may resume it (monotonic s)
        self._met: dict[str, str] = {}  # run id -> its session: those that were looked at
        self._stopping: set[asyncio.Task[None]] = set()

    def expect(self, session: str) -> None:
        """The gateway may resume this session, for the next 15 minutes."""
        now = time.monotonic()
        self._until = {key: until for key, until in self._until.items() if until > now} | {
            session: now + _RESUMES_WITHIN_S
        }
        self._met = {run: where for run, where in self._met.items() if where in self._until}

    def at_rest(self, session: str) -> None:
        """Its turn has ended by itself: there is nothing to resume."""
        self._until.pop(session, None)

    def expected(self, session: str) -> bool:
        return self._until.get(session, 0.0) > time.monotonic()

    def on_event(self, name: str, payload: dict[str, Any]) -> None:
        """An event of the gateway."""
        as_task = name == "task"
        if as_task:
            payload = payload.get("task") or {}
            if payload.get("kind") != "cli" or payload.get("status") != "running":
                return
        elif name != "agent":
            return
        session, run = str(payload.get("sessionKey")), str(payload.get("runId"))
        if run in self._met or run.startswith(KEY_PREFIX) or not self.expected(session):
            return
        self._met[run] = session
        stopping = asyncio.get_running_loop().create_task(self._stop(session, run, as_task))
        self._stopping.add(stopping)
        stopping.add_done_callback(self._stopping.discard)

    async def _stop(self, session: str, run: str, resumed: bool) -> None:
        """`resumed`: it is known to be none of ours, since those that we begin in such a session are no tasks."""
        try:
            if resumed or not await self._is_ours(session, run):
                log.warning("stopping run %s, which the gateway has resumed in %s", run, session)
                await self._turns.abort(session, run)
        except GatewayAway:
            self._met.pop(run, None)  # its next sign is looked at again

    async def _is_ours(self, session: str, run: str) -> bool:
        """True if a run is our attempt under an id of the gateway's own. Raises GatewayAway."""
        deadline = time.monotonic() + _BEGINS_WITHIN_S
        while time.monotonic() < deadline:
            if await self._turns.in_transcript(session, run):
                return False
            await asyncio.sleep(_LOOK_S)
        key = self._mine(session)
        return key is not None and await self._turns.in_transcript(session, key)
