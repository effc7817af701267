"""Whether the turns of one gateway's agents come to their model, and who may try one while they do not (ADR 26).

Three failures in a row before a model was asked make an agent unfit: a failure counts if its turn began after the last
one that was counted had ended, so that many turns that fail in one moment are one failure. A turn that comes to its
model, or a new process of the gateway, makes it fit again. Meanwhile one turn may try, the next after a longer pause.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from clawbus.gateway.rpc import GatewayRpc
from clawbus.gateway.run_phases import Fall

log = logging.getLogger(__name__)
IN_A_ROW = 3
_FIRST_S, _LONGEST_S = 5.0, 60.0


@dataclass(slots=True)
class _Agent:
    falls: int = 0
    last_ms: float = 0.0
    why: str = ""
    asked_at: float = float("-inf")
    pause_s: float = _FIRST_S
    next_try: float = 0.0


class Fitness:
    """Of the agents of one gateway."""

    def __init__(self, rpc: GatewayRpc) -> None:
        self._rpc = rpc
        self._boot_id = ""
        self._agents: dict[str, _Agent] = {}
        self._news = asyncio.Event()
        self.on_change: list[Callable[[], None]] = []
        """Called when an agent has become fit or unfit, or may be tried."""
        rpc.runs.on_asked.append(self._asked)
        rpc.runs.on_fall.append(self._fell)
        rpc.on_change.append(self._gateway_changed)

    # -- what is known ------------------------------------------------------------------------------------------------

    def fit(self, agent: str) -> bool:
        """Whether its turns come to their model, as far as is known."""
        return self._of(agent).falls < IN_A_ROW

    def unfit(self) -> dict[str, str]:
        """Those whose turns do not, each with what the gateway has said last."""
        return {agent: one.why for agent, one in sorted(self._agents.items()) if one.falls >= IN_A_ROW}

    def barred(self, agents: Collection[str]) -> set[str]:
        """Those of these agents for which nothing may be tried now."""
        return {agent for agent in agents if self._left_s(agent) > 0}

    def asked_since(self, agent: str, moment: float) -> bool:
        """Whether a turn of it has come to its model after a moment (`time.monotonic`)."""
        return self._of(agent).asked_at > moment

    async def admit(self, agent: str) -> None:
        """Wait until a turn of an agent may be tried. Whoever returns from here while it is unfit has the one try."""
        while (left_s := self._left_s(agent)) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._news.wait()
        one = self._of(agent)
        if one.falls >= IN_A_ROW:
            self._rest(one)

    async def news(self) -> None:
        """Wait until an agent has become fit or unfit, or may be tried."""
        await self._news.wait()

    # -- what is heard ------------------------------------------------------------------------------------------------

    def _asked(self, agent: str) -> None:
        one = self._of(agent)
        one.asked_at = time.monotonic()
        self._forgive(one)

    def _fell(self, fall: Fall) -> None:
        one = self._of(fall.agent)
        if one.falls and fall.began_ms and fall.began_ms < one.last_ms:
            return
        one.falls, one.last_ms, one.why = one.falls + 1, fall.ended_ms, fall.why
        log.warning("a turn of %s failed before its model was asked, %d in a row", fall.agent, one.falls)
        if one.falls == IN_A_ROW:
            self._rest(one)
            self._tell()

    def _rest(self, one: _Agent) -> None:
        """Nothing is tried for it for a while, twice as long each time; when that is over, all are told."""
        one.next_try = time.monotonic() + one.pause_s
        asyncio.get_running_loop().call_later(one.pause_s, self._tell)
        one.pause_s = min(2 * one.pause_s, _LONGEST_S)

    def _gateway_changed(self, ready: bool) -> None:
        if ready and self._rpc.boot_id != self._boot_id:
            self._boot_id = self._rpc.boot_id
            for one in self._agents.values():
                self._forgive(one)

    def _forgive(self, one: _Agent) -> None:
        was_unfit = one.falls >= IN_A_ROW
        one.falls, one.last_ms, one.pause_s, one.next_try = 0, 0.0, _FIRST_S, 0.0
        if was_unfit:
            self._tell()

    def _tell(self) -> None:
        announcements, self._news = self._news, asyncio.Event()
        announcements.set()
        for callback in list(self.on_change):
            callback()

    def _left_s(self, agent: str) -> float:
        one = self._of(agent)
        return one.next_try - time.monotonic() if one.falls >= IN_A_ROW else 0.0

    def _of(self, agent: str) -> _Agent:
        return self._agents.setdefault(agent, _Agent())
