"""The executor of tasks as a worker needs it: an OpenClaw gateway, or a Python program. And the slots for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from clawbus.node.ledger import Run
from clawbus.wire.envelope import MAX_RESULT_BYTES, Envelope, Status
from clawbus.wire.subjects import new_message_id


class Availability(Protocol):
    """Says if tasks can be done here."""

    @property
    def ready(self) -> asyncio.Event:
        """Set while tasks can be done here; none is taken otherwise."""

    @property
    def gone(self) -> asyncio.Event:
        """Set while `ready` is not."""

    @property
    def on_change(self) -> list[Callable[[bool], None]]:
        """Called with True when it has become ready, with False when it is not any more."""


class Executor(Availability, Protocol):
    """Does tasks, as many at a time as it is given."""

    async def outcome(self, run: Run) -> Envelope:
        """Do a task that is held, or go on with one that was started in an earlier life; returns its end.

        It counts the attempts in the ledger: one that was started and ended without an outcome is a strike.
        """

    async def stop(self, run: Run) -> None:
        """Stop what is being done for a task that has ended elsewhere. Raises GatewayAway."""

    async def halt(self, run: Run) -> None:
        """Stop it so that it can be begun anew, as the same attempt. Raises GatewayAway."""


class WorkerExecutor(Executor, Protocol):
    """An executor that does as people have ordered (`HaltableExecutor`)."""

    def barred(self, agent: str) -> bool:
        """True if an agent may begin nothing now: its tasks are given back."""


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


def result(run: Run, status: Status, text: str) -> Envelope:
    """The end of a task, as its worker writes it."""
    task = run.task
    return Envelope(
        id=new_message_id(run.worker),
        type="result",
        sender=run.worker,
        to=task.sender,
        task_id=task.task_id,
        trace_id=task.trace_id,
        subject=task.subject,
        body=text,
        status=status,
        priority=task.priority,
    )


def bounded(text: str, whole: str) -> str:
    """A reply, whole. Beyond what a message can hold it is cut where it shows; `whole` says where the rest lies."""
    data = text.encode("utf-8", "replace")
    if len(data) <= MAX_RESULT_BYTES:
        return data.decode()
    head = data[:MAX_RESULT_BYTES].decode("utf-8", "ignore")
    return f"{head}\n[cut here: {MAX_RESULT_BYTES} of {len(data)} bytes; {whole}]"
