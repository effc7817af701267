"""The tasks that one gateway does at a time."""

from __future__ import annotations

import asyncio


class Slots:
    """So many slots, and the tasks that have one. A task that only waits for somebody gives its slot to another."""

    def __init__(self, count: int) -> None:
        self._free = asyncio.Semaphore(count)
        self._tasks: set[str] = set()

    async def acquire(self) -> None:
        """Wait for a free slot and take it, for the task that `assign` names later."""
        await self._free.acquire()

    def assign(self, task_id: str) -> None:
        """The slot that was taken last is this task's."""
        self._tasks.add(task_id)

    async def resume(self, task_id: str) -> None:
        """A slot for a task of an earlier life of this process. It goes on without one if none is free."""
        if not self._free.locked():
            await self._free.acquire()
            self._tasks.add(task_id)

    def release(self, task_id: str) -> None:
        """Free the slot of a task. Nothing happens if it has none."""
        if task_id in self._tasks:
            self._tasks.discard(task_id)
            self._free.release()
