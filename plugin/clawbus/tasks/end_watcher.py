"""Waiting for the ends of any number of tasks over one subscription.

A message of the subscription is only a hint. It may be a write that lost, and it comes a moment before the stream has
it. The stream says what counts. While the bus is away no message comes, so every task is also read now and then.
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
    """Waits for ends over one connection."""

    def __init__(self, bus: Bus, subjects: Subjects, ends: Ends) -> None:
        self._bus = bus
        self._subjects = subjects
        self._ends = ends
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._listening: asyncio.Task[object] | None = None
        self.any_end = asyncio.Event()
        """Set with each end of any task: a backlog may have room again. Whoever waits for it clears it."""
        bus.on_reconnect.append(self._wake_all)

    async def end(self, task_id: str, requester: str, to: str) -> End:
        """Wait for the end of a task."""
        with self._wake_event(task_id) as woken:
            pause_s = _LOOK_S
            while True:
                with contextlib.suppress(BusAway):
                    await self.listen()
                    if (end := await self._ends.read(task_id, requester, to)) is not None:
                        return end
                await pause(woken, pause_s)
                pause_s = _SOON_S if woken.is_set() else min(2 * pause_s, _LOOK_LONGEST_S)
                woken.clear()

    async def listen(self) -> None:
        """Subscribe to ends, once. Raises BusAway."""
        if self._listening is None or (self._listening.done() and self._listening.exception() is not None):
            everything = self._subjects.everything("end")
            self._listening = asyncio.ensure_future(self._bus.listen(everything, self._on_end))
        await asyncio.shield(self._listening)

    @contextlib.contextmanager
    def _wake_event(self, task_id: str) -> Iterator[asyncio.Event]:
        woken = asyncio.Event()
        self._waiting.setdefault(task_id, set()).add(woken)
        try:
            yield woken
        finally:
            self._waiting[task_id].discard(woken)
            if not self._waiting[task_id]:
                del self._waiting[task_id]

    def _on_end(self, message: Message) -> None:
        self.any_end.set()
        with contextlib.suppress(WireError):
            for woken in self._waiting.get(self._subjects.parse(message.subject).task_id or "", ()):
                woken.set()

    def _wake_all(self) -> None:
        self.any_end.set()
        for events in self._waiting.values():
            for woken in events:
                woken.set()
