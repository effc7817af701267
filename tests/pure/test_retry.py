"""Retry, pauses and file locks: bounded or endless, cancelled at once, woken early."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import pytest

from clawbus.errors import BusAway, NotKept, Refused
from clawbus.file_lock import locked, locked_in_turn
from clawbus.retry import Backoff, pause, retry


class Failing:
    """Fails with each of these errors in turn, then returns the number of calls."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def __call__(self) -> int:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.calls


async def test_it_is_tried_until_it_goes_well() -> None:
    assert await retry(Failing(*[BusAway("away")] * 50), BusAway, 0) == 51


async def test_the_last_error_is_raised_after_so_many_tries() -> None:
    call = Failing(BusAway("1"), BusAway("2"), BusAway("3"))
    with pytest.raises(BusAway, match="2"):
        await retry(call, BusAway, 0, tries=2)
    assert call.calls == 2


async def test_the_last_error_is_raised_after_so_long() -> None:
    with pytest.raises(BusAway, match="1"):
        await retry(Failing(BusAway("1"), BusAway("2")), BusAway, 60, within_s=0)


@pytest.mark.parametrize("error", [NotKept("full"), Refused("no")])
async def test_another_error_is_raised_at_once(error: Exception) -> None:
    call = Failing(error)
    with pytest.raises(type(error)):
        await retry(call, BusAway, 60, unless=NotKept)
    assert call.calls == 1


async def test_a_cancellation_counts_in_the_pause() -> None:
    failed = asyncio.Event()

    async def call() -> None:
        failed.set()
        raise BusAway("away")

    trying = asyncio.create_task(retry(call, BusAway, 600))
    await failed.wait()
    trying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(trying, 5)


def test_a_backoff_doubles_up_to_its_bound() -> None:
    backoff = Backoff(1.0, 5.0)
    assert [backoff.next_s() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    backoff.reset()
    assert backoff.next_s() == 1.0
    backoff.slow_down()
    assert backoff.next_s() == 5.0


async def test_an_event_cuts_a_pause_short() -> None:
    wake = asyncio.Event()
    asyncio.get_running_loop().call_soon(wake.set)
    async with asyncio.timeout(5):
        await pause(wake, None)
        await pause(wake, 600)
    wake.clear()
    began = time.monotonic()
    await pause(wake, 0.01)
    assert 0.01 <= time.monotonic() - began < 5


@pytest.mark.parametrize("is_folder", [False, True])
async def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path, is_folder: bool) -> None:
    """flock(2) locks an open file, so that two of one process exclude each other as two processes do."""
    path = tmp_path if is_folder else tmp_path / "lock"
    holder = contextlib.ExitStack()
    holder.enter_context(locked(path))
    with pytest.raises(BlockingIOError), locked(path):
        pass
    told: list[str] = []

    def on_wait() -> None:
        told.append("waits")
        holder.close()

    async with locked_in_turn(path, on_wait):
        with pytest.raises(BlockingIOError), locked(path):
            pass
    assert told == ["waits"]
    with locked(path, wait=True):
        pass
