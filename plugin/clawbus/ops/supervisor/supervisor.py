"""The supervisor of a company: one per home. Its children are in groups, and are ended in reverse order."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from types import TracebackType
from typing import IO, Any, Self

from clawbus.errors import NotFound
from clawbus.ops.supervisor import pid_files
from clawbus.ops.supervisor.child import Child, OnEvent, Service
from clawbus.settings import Home


class Supervisor:
    """An async context manager. Leaving it ends every process, also after an error or Ctrl-C.

    Entering it takes the home's lock, and ends what a killed supervisor has left running. Raises Refused if another has
    the lock. `on_event(name, what, detail)` is called with: leftover, started, ready, died, restarting, restarted, not
    ready, stopped, killed. The caller handles signals: it cancels the task that is inside the context.
    """

    def __init__(self, home: Home, on_event: OnEvent = lambda _name, _what, _detail: None) -> None:
        self._folder = home.dir("run")
        self._on_event = on_event
        self._groups: list[list[Child]] = []
        self._lock: IO[str] | None = None
        self.ended: list[pid_files.ProcessRecord] = []
        """The processes that a killed supervisor had left running, and that were ended on entering."""

    async def __aenter__(self) -> Self:
        self._lock = pid_files.take_lock(self._folder)
        try:
            self.ended = await pid_files.end_leftovers(self._folder)
            for leftover in self.ended:
                self._on_event(leftover.name, "leftover", "of an earlier run, ended")
        except BaseException:
            self._release()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.stop_all()
        finally:
            self._release()

    async def add(self, *services: Service) -> None:
        """Start a group of services side by side, and wait until all are ready. They will end side by side, too.

        A group ends before the groups that were added before it. If a service fails, all of the group are ended. Raises
        Away after three deaths, or the ClawbusError of its `ready`.
        """
        group = [Child(service, self._folder, self._on_event) for service in services]
        self._groups.append(group)
        try:
            await all_or_none(child.start() for child in group)
        except BaseException:
            await self._stop(group)
            raise

    @property
    def services(self) -> dict[str, Service]:
        """The running services by name, in the order in which they were added."""
        return {child.service.name: child.service for group in self._groups for child in group}

    def pid(self, name: str) -> int | None:
        """The pid of a service; None while it is down. Raises NotFound."""
        return self._child(name).pid

    async def stop(self, name: str) -> None:
        """End one service for good. It can be added again. Raises NotFound."""
        await self._stop([self._child(name)])

    async def restart(self, name: str, within_s: float | None = None) -> None:
        """End the process of one service, so that it is started again. Returns when the old process has ended.

        It gets SIGKILL if it has not ended after `within_s`, or its service's `stop_s`. Raises NotFound.
        """
        await self._child(name).restart(within_s)

    async def stop_all(self) -> None:
        """End everything, the last added first. If it is cancelled, it kills what still runs."""
        try:
            while self._groups:
                await self._stop(list(self._groups[-1]))
        except asyncio.CancelledError:
            children = [child for group in self._groups for child in group]
            for child in children:
                child.kill()
            await self._stop(children)
            raise

    async def _stop(self, children: list[Child]) -> None:
        await all_or_none(child.stop() for child in children)
        self._groups = [rest for group in self._groups if (rest := [c for c in group if c not in children])]

    def _child(self, name: str) -> Child:
        for group in self._groups:
            for child in group:
                if child.service.name == name:
                    return child
        raise NotFound(f"no service {name!r} is supervised")

    def _release(self) -> None:
        if self._lock:
            self._lock.close()
            self._lock = None


async def all_or_none(steps: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run coroutines side by side. The first error ends the others, and is raised as it is."""
    tasks = [asyncio.create_task(step) for step in steps]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
