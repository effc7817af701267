"""Waiting for ends: one subscription for however many tasks, told of each at once, and looking now and then besides.

What is heard is only a hint: a write that lost is heard, too, and one that won is heard a moment before it is stored.
The stream says what counts. What is said while the bus is away is not heard: then each task is looked at again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from clawbus.bus import Bus, Message
from clawbus.errors import BusAway, WireError
from clawbus.retry import pause
from clawbus.tasks.ends import End, Ends
from clawbus.wire.subjects import Subjects

_SOON_S = 0.02
_LOOK_S = 2.0
_LOOK_LONGEST_S = 30.0


class Following:
    """Ends of tasks, for one connection."""

    def __init__(self, bus: Bus, subjects: Subjects, ends: Ends) -> None:
        self._bus = bus
        self._subjects = subjects
        self._ends = ends
        self._told: dict[str, set[asyncio.Event]] = {}
        self._listening: asyncio.Task[object] | None = None
        self.heard = asyncio.Event()
        """Set with every end of any task: a backlog may have room again. Whoever waits for it clears it."""
        bus.on_reconnect.append(self._all_told)

    async def end(self, task_id: str, requester: str, to: str) -> End:
        """Wait for the end of a task."""
        with self._telling(task_id) as told:
            pause_s = _LOOK_S
            while True:
                with contextlib.suppress(BusAway):
                    await self.listen()
                    if (end := await self._ends.read(task_id, requester, to)) is not None:
                        return end
                await pause(told, pause_s)
                pause_s = _SOON_S if told.is_set() else min(2 * pause_s, _LOOK_LONGEST_S)
                told.clear()

    async def listen(self) -> None:
        """Hear of ends from now on. Raises BusAway."""
        if self._listening is None or (self._listening.done() and self._listening.exception() is not None):
            everything = self._subjects.everything("end")
            self._listening = asyncio.ensure_future(self._bus.listen(everything, self._hear))
        await asyncio.shield(self._listening)

    @contextlib.contextmanager
    def _telling(self, task_id: str) -> Iterator[asyncio.Event]:
        told = asyncio.Event()
        self._told.setdefault(task_id, set()).add(told)
        try:
            yield told
        finally:
            self._told[task_id].discard(told)
            if not self._told[task_id]:
                del self._told[task_id]

    def _hear(self, message: Message) -> None:
        self.heard.set()
        with contextlib.suppress(WireError):
            for told in self._told.get(self._subjects.parse(message.subject).task_id or "", ()):
                told.set()

    def _all_told(self) -> None:
        self.heard.set()
        for waiting in self._told.values():
            for told in waiting:
                told.set()
