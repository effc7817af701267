"""The bus as it happens: events and ends of all tasks, and alerts, in the order in which they are heard.

This is for watching: a core subscription misses what is said while it is away. The record is in the streams
(`tasks.History`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from clawbus.bus import Bus, Message, SignedCopy
from clawbus.errors import Away, Refused, WireError
from clawbus.wire.envelope import Status, decode, now
from clawbus.wire.events import decode_event
from clawbus.wire.strict_json import read_object
from clawbus.wire.subjects import Parsed, Subjects

_ENDS = get_args(Status)
_SIDES_APART_S = 0.5


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One thing that happened. `kind` is an event's kind, or how a task ended; `who` said so."""

    at: datetime
    kind: str
    task_id: str
    who: str
    to: str = ""
    detail: str = ""


@contextlib.asynccontextmanager
async def watching(bus: Bus, subjects: Subjects) -> AsyncIterator[asyncio.Queue[WatchEvent]]:
    """Every event of tasks while the block runs, if its sender has signed it."""
    heard: asyncio.Queue[WatchEvent] = asyncio.Queue()
    said: asyncio.Queue[Message] = asyncio.Queue()
    channels = ("events", "end", "alerts")
    stops = [await bus.listen(subjects.everything(channel), said.put_nowait) for channel in channels]
    reading = asyncio.create_task(_read_on(bus, subjects, said, heard))
    try:
        yield heard
    finally:
        reading.cancel()
        for stop in stops:
            await stop()


async def _read_on(
    bus: Bus, subjects: Subjects, said: asyncio.Queue[Message], heard: asyncio.Queue[WatchEvent]
) -> None:
    ended: set[str] = set()
    inline = _InLine(heard)
    while True:
        message = await said.get()
        with contextlib.suppress(WireError, Away, Refused):  # what cannot be checked now is not shown
            await bus.verifier.check(SignedCopy.of_message(message))
            event = _read(subjects, message)
            if event.kind == "ended":  # the end itself is heard, too, and says how
                continue
            if event.kind in _ENDS and event.task_id in ended:  # written, but refused: the stream has one already
                continue
            ended.update({event.task_id} if event.kind in _ENDS else ())
            inline.put(event)


class _InLine:
    """Puts `accepted` before `delivered`: requester and worker say these on two ways, and either may arrive first."""

    def __init__(self, heard: asyncio.Queue[WatchEvent]) -> None:
        self._heard = heard
        self._accepted: set[str] = set()
        self._early: dict[str, list[WatchEvent]] = {}

    def put(self, event: WatchEvent) -> None:
        task_id = event.task_id
        if task_id in self._early and event.kind != "accepted":
            self._early[task_id].append(event)
        elif event.kind == "delivered" and task_id not in self._accepted:
            self._early[task_id] = [event]
            asyncio.get_running_loop().call_later(_SIDES_APART_S, self._let_on, task_id)
        else:
            self._heard.put_nowait(event)
            if event.kind == "accepted":
                self._let_on(task_id)

    def _let_on(self, task_id: str) -> None:
        self._accepted.add(task_id)
        for event in self._early.pop(task_id, ()):
            self._heard.put_nowait(event)


def _read(subjects: Subjects, message: Message) -> WatchEvent:
    parsed = subjects.parse(message.subject)
    if parsed.channel == "alerts":
        return _alert(parsed, message.data)
    if parsed.channel == "end":
        end = decode(message.data, parsed.sender)
        return WatchEvent(
            now(),
            end.status or "failed",
            end.task_id or "",
            parsed.sender,
            end.to if end.to != parsed.sender else "",
            "",
        )
    event = decode_event(message.data, parsed)
    said = event.detail
    detail = said.get("what") or said.get("label") or said.get("why") or _attempt(said.get("attempt"))
    return WatchEvent(event.at, event.kind, event.task_id, event.sender, str(said.get("to") or ""), str(detail or ""))


def _alert(parsed: Parsed, data: bytes) -> WatchEvent:
    """An alert by its rule and what it is about; its task, where it is about one."""
    said = read_object(data)
    rule, key = parsed.tokens["rule"], parsed.tokens["key"]
    detail = f"{rule} {key}: {said.get('text', '')}"
    return WatchEvent(now(), "alert" if said.get("raised") else "cleared", key, parsed.sender, "", detail)


def _attempt(number: object) -> str:
    return f"attempt {number}" if isinstance(number, int) and number > 1 else ""
