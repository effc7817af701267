"""A gateway whose turns fail before a model is asked (ADR 26) is restarted, or a person is told.

A gateway of one's own is restarted by the `clawbus up` that runs it, three times at most, with a longer pause each
time: if that does not help, its settings or its files are broken, and a restart a minute would only cut its good turns.
Then, and for a gateway that others run, the node says in its presence that a person has to see to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from clawbus.errors import ClawbusError
from clawbus.gateway import Fitness, GatewayRpc
from clawbus.retry import pause
from clawbus.wire.sanitize import inert

log = logging.getLogger(__name__)
_PAUSES_S = (0.0, 60.0, 300.0)
_AGAIN_S = 5.0
_GOES_S = 60.0
_WHY_CHARS = 200

Restart = Callable[[], Awaitable[bool]]
"""Has the gateway restarted; False if nobody is there who could. Raises Away or Refused: not now."""


class GatewayRepair:
    """Of one gateway. `restart` is None where others run it."""

    def __init__(self, rpc: GatewayRpc, agents: Collection[str], restart: Restart | None) -> None:
        self._rpc = rpc
        self.fitness = self._fitness = Fitness(rpc)
        self._agents = agents
        self._restarts = 0
        self._next_at = 0.0
        self._sick: set[str] = set()  # whose turns have come to no model since they were unfit
        self._is_alone = False
        self._ask_restart = restart
        self.on_change: list[Callable[[], None]] = []
        rpc.runs.on_model_asked.append(self._asked)

    def of(self, agent: str) -> dict[str, Any] | None:
        """The word of the node on an agent whose turns fail; None of one that is well.

        `by`: who is to mend it, `up` or a `person`; `restarts`: how many have not helped; `why`: the gateway's words.
        """
        why = self._fitness.unfit().get(agent)
        if why is None:
            return None
        by = "up" if self._can_restart() else "person"
        return {"by": by, "restarts": self._restarts, "why": inert(why, lines=False)[:_WHY_CHARS]}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._sick |= set(self._fitness.unfit()) & set(self._agents)
            left_s = self._next_at - time.monotonic()
            if not set(self._fitness.unfit()) & set(self._agents):
                await self._fitness.news()
            elif not self._can_restart():
                await self._wait(_AGAIN_S if self._is_alone else None)
                self._is_alone = False
            elif left_s > 0:
                await self._wait(left_s)
            else:
                await self._restart()

    def _can_restart(self) -> bool:
        return self._ask_restart is not None and self._restarts < len(_PAUSES_S) and not self._is_alone

    async def _restart(self) -> None:
        assert self._ask_restart is not None  # noqa: S101 - asked before
        log.error("the gateway fails every turn of %s before a model is asked", ", ".join(self._fitness.unfit()))
        try:
            self._is_alone = not await self._ask_restart()
        except ClawbusError as error:
            log.warning("it is not restarted now: %s", error)
            await self._wait(_AGAIN_S)
            return
        if self._is_alone:
            self._tell()
            return
        self._restarts += 1
        await pause(self._rpc.gone, _GOES_S)
        await self._rpc.ready.wait()  # it may take minutes to start, and is not to be ended meanwhile
        if self._can_restart():
            self._next_at = time.monotonic() + _PAUSES_S[self._restarts]
        self._tell()

    async def _wait(self, at_most_s: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._fitness.news()

    def _asked(self, agent: str) -> None:
        self._sick.discard(agent)
        if not self._sick:
            self._restarts, self._next_at = 0, 0.0

    def _tell(self) -> None:
        for callback in list(self.on_change):
            callback()
