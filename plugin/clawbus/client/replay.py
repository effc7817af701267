"""Events read back from the streams: of a task and all that came of it, of one agent, or since a moment.

The streams are the record; a core subscription may have missed something. Order and times are the server's. What an
agent wrote is data, and is shown as data.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clawbus.bus import Bus, Stored
from clawbus.client.company import Company
from clawbus.errors import WireError
from clawbus.wire.channels import ALERTS, BCAST, DEAD, ENDS, EVENTS, LEARN
from clawbus.wire.envelope import decode
from clawbus.wire.events import decode_event
from clawbus.wire.strict_json import read_object
from clawbus.wire.subjects import Parsed, Subjects

_CHANNELS = {
    EVENTS: ("events",),
    ENDS: ("end",),
    BCAST: ("all", "team", "topics"),
    LEARN: ("learning",),
    DEAD: ("dead",),
    ALERTS: ("alerts",),
}
_TEXTS = ("what", "why", "label", "status", "subject", "text", "body")
_PART_IN = ("accepted", "delivered", "started")  # of a team's or a pool's task, only the last two name who has it


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One thing that happened. `text`: what an agent or a person said, or the reason; data."""

    at: datetime
    who: str
    what: str
    task_id: str = ""
    to: str = ""
    text: str = ""
    parent: str = ""
    detail: tuple[tuple[str, Any], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For `--json`: times as ISO 8601, nothing left out."""
        names = ("who", "what", "task_id", "to", "text", "parent")
        said = {name: getattr(self, name) for name in names if getattr(self, name)}
        return {"at": self.at.isoformat(), **said, **({"detail": dict(self.detail)} if self.detail else {})}


async def moments(bus: Bus, company: Company) -> list[TimelineEntry]:
    """Everything that the streams remember, in the order of the server's clock. Raises BusAway."""
    subjects = company.subjects
    found: list[TimelineEntry] = []
    for stream, channels in _CHANNELS.items():
        for name in channels:
            for stored in await bus.stored(stream, subjects.everything(name)):
                with contextlib.suppress(WireError):
                    await bus.verifier.check(stored)
                    found += _read(subjects, stored)
    return sorted(found, key=lambda moment: moment.at)


def chosen(
    all_of_it: list[TimelineEntry], task: str | None = None, agent: str | None = None, since: datetime | None = None
) -> list[TimelineEntry]:
    """The entries of a task, of an agent, since a moment. A task brings those that came of it (passed on, chained)."""
    part: Iterable[TimelineEntry] = all_of_it
    if task is not None:
        family = _family(all_of_it, task)
        part = [entry for entry in part if entry.task_id in family]
    if agent is not None:
        involved = {entry.task_id for entry in all_of_it if entry.what in _PART_IN and agent in (entry.who, entry.to)}
        part = [
            entry for entry in part if agent in (entry.who, entry.to) or (entry.task_id in involved and entry.task_id)
        ]
    if since is not None:
        part = [entry for entry in part if entry.at >= since]
    return list(part)


def _family(all_of_it: list[TimelineEntry], task: str) -> set[str]:
    family = {task}
    for entry in all_of_it:  # in time: a child is heard of after its parent
        if entry.parent in family and entry.task_id:
            family.add(entry.task_id)
    return family


def _read(subjects: Subjects, stored: Stored) -> list[TimelineEntry]:
    """The entry of a stored message; none if it is malformed."""
    try:
        parsed = subjects.parse(stored.subject)
        if parsed.channel == "events":
            return [_event(parsed, stored)]
        if parsed.channel in ("dead", "alerts"):
            return [_steward(parsed, stored)]
        return [_said(parsed, stored)]
    except WireError:
        return []


def _event(parsed: Parsed, stored: Stored) -> TimelineEntry:
    event = decode_event(stored.data, parsed)
    detail = event.detail
    text = next((str(detail[key]) for key in _TEXTS if detail.get(key)), "")
    rest = tuple(detail.items())
    to, parent = str(detail.get("to") or ""), str(detail.get("parent") or "")
    return TimelineEntry(stored.at, event.sender, event.kind, event.task_id, to, text, parent, rest)


def _said(parsed: Parsed, stored: Stored) -> TimelineEntry:
    """An end, a broadcast, an insight."""
    said = decode(stored.data, parsed.sender)
    ended = parsed.channel == "end"
    what = (said.status or "failed") if ended else said.type
    text = said.body if ended or not said.subject else f"{said.subject}: {said.body}"
    return TimelineEntry(stored.at, parsed.sender, what, said.task_id or "", said.to, text, said.parent or "")


def _steward(parsed: Parsed, stored: Stored) -> TimelineEntry:
    said = read_object(stored.data)
    if parsed.channel == "dead":
        return TimelineEntry(
            stored.at, parsed.sender, "dead letter", parsed.task_id or "", text=str(said.get("reason", ""))
        )
    what = "alert raised" if said.get("raised") else "alert cleared"
    rule, key = parsed.tokens["rule"], parsed.tokens["key"]
    return TimelineEntry(
        stored.at, parsed.sender, what, key if len(key) == 26 else "", key, f"{rule}: {said.get('text', '')}"
    )
