"""What happened to a task, as whoever acts says it: published on `<company>.events.<task>.<from>`, kept 14 days."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from clawbus.errors import WireError
from clawbus.wire.envelope import MAX_TOOLS, TOOL, Envelope, check_giver, cut, in_utc, now, read_as
from clawbus.wire.subjects import Parsed

_MAX_BODY_BYTES = 32 * 1024

Kind = Literal[
    "accepted", "delivered", "started", "progress", "interrupted", "retrying", "resumed", "ended", "announced",
    "steered", "seen", "raised", "resolved", "waiting_approval", "approved", "refused",
    "breached", "escalated", "chained",
    "over_budget", "breaker_open", "breaker_closed",
]  # fmt: skip
"""`accepted` to `announced` in the order of a task's life. `interrupted`: a process that it needs has died; `retrying`:
the next attempt; `resumed`: the node is back, and the same attempt goes on. `seen`: a broadcast was shown to its agent;
`raised`, `resolved`: a blocker; `breached` to `chained` are the steward's. `over_budget`: of a tree of tasks, under its
first one; `breaker_open`, `breaker_closed`: no more of one agent's tasks go to a receiver, and again they do."""


Value = str | int | float | bool | None


class Event(BaseModel):
    """One event. `detail` is a few words or numbers; agents' text in it is data."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    v: int = 1
    id: str = Field(max_length=256)
    kind: Kind
    task_id: str
    sender: str = Field(alias="from")
    at: AwareDatetime = Field(default_factory=now)
    detail: dict[str, Value] = Field(default={}, max_length=64)

    @field_validator("at")
    @classmethod
    def _in_utc(cls, at: datetime) -> datetime:
        return in_utc(at)

    def number(self, name: str) -> int:
        """A number of the detail; 0 for what is none: others' events are data."""
        value = self.detail.get(name)
        return value if isinstance(value, int) else 0

    def encode(self) -> bytes:
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()


def question_code(asker: str, digest: object) -> str:
    """Tells a question to a person from others about the same task, in eight letters that a person can type."""
    return hashlib.sha256(f"{asker} {digest or ''}".encode()).hexdigest()[:8]


def decode_event(data: bytes, parsed: Parsed) -> Event:
    """Read an event that arrived on a subject.

    Raises WireError if it is none, or claims another sender or task; Unverified for the `accepted`
    of a task that is not its sender's.
    """
    sender = parsed.sender
    event = read_as(Event, data, f"event from {sender}")
    if (event.sender, event.task_id) != (sender, parsed.task_id):
        raise WireError(f"event from {sender} names another sender or task than its subject")
    if event.kind == "accepted":
        check_giver(sender, event.task_id, event.detail.get("seed"))
    return event


def accepted_detail(task: Envelope) -> dict[str, Value]:
    """The detail of the event. `body` is there only for a chain, whose next task quotes it; cut where it is long."""
    detail: dict[str, Value] = {
        "to": task.to,
        "seed": task.seed,
        "label": task.subject,
        "priority": task.priority,
        "parent": task.parent,
        "expires_at": task.expires_at.isoformat() if task.expires_at else None,
    }
    if task.tools is not None:
        detail["tools"] = " ".join(task.tools)
    if task.takers:
        detail["takers"] = " ".join(task.takers)
    if task.needs_approval:
        detail["needs_approval"] = True
    if task.sla is not None:
        detail["ack_within_s"] = task.sla.ack_within_seconds
        minutes = task.sla.complete_within_minutes
        detail["complete_within_s"] = minutes * 60 if minutes else None
    if task.on_complete is not None:
        detail |= {"then_to": task.on_complete.to, "then_template": task.on_complete.template}
        detail |= {"body": cut(task.body, _MAX_BODY_BYTES), "hops": task.hops, "path": " ".join(task.path)}
        detail["trace_id"] = task.trace_id
    return {name: value for name, value in detail.items() if value is not None}


def raised_detail(blocker: Envelope) -> dict[str, Value]:
    """The detail of the event `raised`: with it the steward can take a blocker on when the message itself is gone."""
    detail: dict[str, Value] = {
        "to": blocker.to,
        "subject": blocker.subject,
        "priority": blocker.priority,
        "about": blocker.parent,
        "body": cut(blocker.body, _MAX_BODY_BYTES),
        "tools": None if blocker.tools is None else " ".join(blocker.tools),
    }
    return {name: value for name, value in detail.items() if value is not None}


def takers_in(event: Event) -> frozenset[str]:
    """Who might take a task for a team or a pool when it was given; nobody for one agent's."""
    return frozenset(str(event.detail.get("takers") or "").split())


def tools_in(event: Event) -> tuple[str, ...] | None:
    """The tools that either event names; None where it has no such list. What is no name is left out: it is data."""
    said = event.detail.get("tools")
    return None if said is None else tuple(one for one in str(said).split() if re.fullmatch(TOOL, one))[:MAX_TOOLS]
