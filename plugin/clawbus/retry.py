"""Trying again after a pause, and pauses that an event cuts short (docs/adr/0027-retry.md)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class Backoff:
    """The pauses between tries: `first_s`, then twice as long each time, at most `longest_s`."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s, self._longest_s = first_s, longest_s
        self._next_s = first_s

    def reset(self) -> None:
        """Begin with `first_s` again: a try has gone well."""
        self._next_s = self._first_s

    def slow_down(self) -> None:
        """Let the next pause be the longest: it will not go well soon."""
        self._next_s = self._longest_s

    def next_s(self) -> float:
        """The length of the next pause."""
        pause_s, self._next_s = self._next_s, min(2 * self._next_s, self._longest_s)
        return pause_s

    async def wait(self) -> None:
        """Sleep for the next pause."""
        await asyncio.sleep(self.next_s())


async def retry(
    call: Callable[[], Awaitable[T]],
    on: type[Exception] | tuple[type[Exception], ...],
    pause_s: float,
    *,
    tries: int | None = None,
    within_s: float | None = None,
    unless: type[Exception] | tuple[type[Exception], ...] = (),
) -> T:
    """Await `call()` until it raises no `on`; return its result.

    Endless, unless `tries` or `within_s` bound it: then the last error is raised. An error of `unless`, or none of
    `on`, is raised at once.
    """
    deadline = None if within_s is None else time.monotonic() + within_s
    number = 0
    while True:
        number += 1
        try:
            return await call()
        except unless:
            raise
        except on:
            if number == tries or (deadline is not None and time.monotonic() >= deadline):
                raise
        await asyncio.sleep(pause_s)


async def pause(wake: asyncio.Event, at_most_s: float | None) -> None:
    """Sleep until `wake` is set, but `at_most_s`; None: without an end."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(at_most_s):
            await wake.wait()
