"""What people see of a task as it happens: in the order in which it makes sense."""

from __future__ import annotations

import asyncio

from clawbus.client.watch import WatchEvent, _InLine
from clawbus.wire.envelope import now


def event(kind: str, task_id: str = "t") -> WatchEvent:
    return WatchEvent(now(), kind, task_id, "ceo")


async def seen(*events: WatchEvent) -> list[tuple[str, str]]:
    heard: asyncio.Queue[WatchEvent] = asyncio.Queue()
    inline = _InLine(heard)
    for one in events:
        inline.put(one)
    found = [await asyncio.wait_for(heard.get(), 5) for _ in events]
    return [(one.task_id, one.kind) for one in found]


async def test_a_task_is_seen_queued_before_it_is_seen_delivered() -> None:
    """Its requester and its worker say so on two ways, and the worker is sometimes heard first."""
    events = (event("delivered"), event("started"), event("done", "other"), event("accepted"), event("done"))
    assert await seen(*events) == [
        ("other", "done"), ("t", "accepted"), ("t", "delivered"), ("t", "started"), ("t", "done")
    ]  # fmt: skip


async def test_a_task_of_the_time_before_is_seen_all_the_same() -> None:
    """Whoever begins to watch later never hears that it was queued."""
    assert await seen(event("delivered"), event("started")) == [("t", "delivered"), ("t", "started")]
