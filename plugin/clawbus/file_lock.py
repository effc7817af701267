"""A lock that one process holds at a time. The system ends it with the process, however that ends (flock(2))."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from clawbus.retry import retry

_AGAIN_S = 0.1


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a folder, or of a file that is made if there is none.

    Raises BlockingIOError if another holds it; with `wait` the thread waits for it instead.
    """
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


@contextlib.asynccontextmanager
async def locked_in_turn(path: Path, on_wait: Callable[[], None] = lambda: None) -> AsyncIterator[None]:
    """As `locked`, but other tasks go on while it waits. `on_wait` is called once if it has to."""
    told = False

    async def take() -> None:
        nonlocal told
        try:
            stack.enter_context(locked(path))
        except BlockingIOError:
            if not told:
                on_wait()
            told = True
            raise

    with contextlib.ExitStack() as stack:
        await retry(take, BlockingIOError, _AGAIN_S)
        yield
