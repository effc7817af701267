"""The work after a program has a result: say so on the bus, and take the copy out of the inbox.

Both happen behind the program's back, many at once; closing the connection waits for them for a few seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from clawbus.client.person import Person
from clawbus.errors import Away

_TOGETHER_S = 0.1
_LONGEST_S = 2.0
_GIVE_UP_S = 120.0
_AT_THE_END_S = 5.0
_AT_ONCE = 16


class ResultCleanup:
    """The results that one connection has handed over."""

    def __init__(self, person: Person) -> None:
        self._person = person
        self._unsaid: set[str] = set()
        self._copies: dict[str, float] = {}  # task -> since when its copy is looked for (monotonic s)
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def handed_over(self, task_id: str) -> None:
        self._unsaid.add(task_id)
        self._copies[task_id] = time.monotonic()
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        pause_s = _TOGETHER_S
        while True:
            if not self._copies:
                await self._wake.wait()
            fresh = self._wake.is_set()
            self._wake.clear()
            await asyncio.sleep(_TOGETHER_S if fresh else pause_s)
            with contextlib.suppress(Away):
                await self._settle(1)
            pause_s = _TOGETHER_S if fresh else min(2 * pause_s, _LONGEST_S)

    async def finish(self) -> None:
        """Do the rest within five seconds. What is not done then stays in the inbox, to be read there."""
        with contextlib.suppress(Away, TimeoutError):
            async with asyncio.timeout(_AT_THE_END_S):
                await self._settle(15)

    async def _settle(self, tries: int) -> None:
        if not self._copies:
            return
        await asyncio.gather(*(self._say(task_id) for task_id in list(self._unsaid)))
        looked_for = set(self._copies)
        late = await self._person.copies.drop(looked_for, tries)
        now = time.monotonic()
        for task_id in looked_for:
            if task_id not in late or now - self._copies[task_id] > _GIVE_UP_S:
                del self._copies[task_id]

    async def _say(self, task_id: str) -> None:
        async with self._slots:
            await self._person.seen(task_id)
            self._unsaid.discard(task_id)
