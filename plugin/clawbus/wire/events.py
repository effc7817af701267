"""What happened to a task, as whoever acts says it: published on `<company>.events.<task>.<from>`, kept 14 days."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from clawbus.errors import WireError
from clawbus.wire.envelope import check_giver, in_utc, now, read_as
from clawbus.wire.subjects import Parsed

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
