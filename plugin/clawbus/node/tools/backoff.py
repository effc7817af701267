"""Whoever is refused again and again is answered ever later: one agent's flood leaves the others their time.

A model that calls as fast as it is answered is slowed to a few calls a second; who is taken, or leaves it for a minute,
is answered at once again. Each call waits for itself, and ends with its connection: nobody else's is held up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from clawbus.node.tools.answer import Answer

AT_ONCE = 10
"""Refusals in a row that are answered at once: as many as a model needs to see that something is amiss."""
STEP_S = 0.1
MOST_S = 1.0
"""Far below what the shim and OpenClaw wait for an answer."""
QUIET_S = 60.0


class Backoff:
    """Counts each agent's refusals in a row. In memory: a restart begins anew. `clock` and `sleep` are for tests."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._refused: dict[str, tuple[int, float]] = {}

    def taken(self, agent: str) -> None:
        """Something that the agent sends was taken."""
        self._refused.pop(agent, None)

    async def refused(self, agent: str, answer: Answer) -> Answer:
        """A refusal, and what it says to whoever does not stop; it is given after the wait that it has earned."""
        count, last = self._refused.get(agent, (0, 0.0))
        now = self._clock()
        count = 1 if now - last >= QUIET_S else count + 1
        self._refused[agent] = (count, now)
        if count <= AT_ONCE:
            return answer
        await self._sleep(min(MOST_S, STEP_S * (count - AT_ONCE)))
        more = f"This is refusal {count} in a row, and each is answered later. Wait a minute before you try again."
        return replace(answer, text=f"{answer.text}\n{more}")
