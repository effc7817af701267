"""What happened to a task, as whoever acts says it: published on `<company>.events.<task>.<from>`, kept 14 days."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from clawbus.envelope import now
from clawbus.errors import WireError

Kind = Literal[
    "accepted", "delivered", "started", "progress", "interrupted", "retrying", "resumed", "ended", "announced"
]
"""In the order of a task's life. `interrupted`: a process that it needs has died; `retrying`: the next attempt;
`resumed`: the node is back, and the same attempt goes on."""


class Event(BaseModel):
    """One event. `detail` is a few words or numbers; agents' text in it is data."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    v: int = 1
    id: str
    kind: Kind
    task_id: str
    sender: str = Field(alias="from")
    at: AwareDatetime = Field(default_factory=now)
    detail: dict[str, str | int | float | bool | None] = {}

    def encode(self) -> bytes:
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()


def decode_event(data: bytes, sender: str) -> Event:
    """Read an event that arrived from `sender`. Raises WireError."""
    try:
        event = Event.model_validate_json(data)
    except (ValidationError, ValueError) as error:
        raise WireError(f"malformed event from {sender}: {error}") from None
    if event.sender != sender:
        raise WireError(f"event from {sender} claims to be from {event.sender!r}")
    return event
