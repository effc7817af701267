"""Events: what happened to a task. Whoever acts publishes one on `<company>.events.<task>.<from>`; kept 14 days.

The events `accepted` and `raised` hold all that others need to follow a task or a blocker without the message itself.
A task leaves its queue when it is done; from then on the board, the deadlines and the chains go by its `accepted`.
"""

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
"""`accepted` to `announced` stand in the order of a task's life. `interrupted`: a process that the task needs has died.
`retrying`: the next attempt begins. `resumed`: the node is back, and the same attempt goes on. `seen`: an agent was
shown a broadcast. `raised`, `resolved`: a blocker. `breached` to `chained`: the steward's. `over_budget`: a tree of
tasks has used its budget; the event stands under its first task. `breaker_open`: no more tasks of one agent go to a
receiver. `breaker_closed`: they go again."""


Value = str | int | float | bool | None


class Event(BaseModel):
    """One event. `detail`: a few words or numbers. Agents' text in it is data, never an instruction."""

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
        """An integer of the detail; 0 if it is missing or no integer: others' events are data."""
        value = self.detail.get(name)
        return value if isinstance(value, int) else 0

    def encode(self) -> bytes:
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()


def question_code(asker: str, digest: object) -> str:
    """Eight letters that a person can type: they tell one question from others about the same task.

    `asker`: the agent that asks. `digest`: the digest of the text that a person is to decide on.
    """
    return hashlib.sha256(f"{asker} {digest or ''}".encode()).hexdigest()[:8]


def decode_event(data: bytes, parsed: Parsed) -> Event:
    """Read an event that arrived on a subject.

    Raises WireError if it is no event, or if it names another sender or task than its subject. Raises Unverified for
    the `accepted` of a task that its sender has not given.
    """
    sender = parsed.sender
    event = read_as(Event, data, f"event from {sender}")
    if (event.sender, event.task_id) != (sender, parsed.task_id):
        raise WireError(f"event from {sender} names another sender or task than its subject")
    if event.kind == "accepted":
        check_giver(sender, event.task_id, event.detail.get("seed"))
    return event


def accepted_detail(task: Envelope) -> dict[str, Value]:
    """The detail of the event `accepted` of a task. Only a chain's has `body`, since the next task quotes it."""
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
    """The detail of the event `raised` of a blocker. With it the steward can go on when the message is gone."""
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
    """The members of a team or pool that could take the task when it was given; empty for a task for one agent."""
    return frozenset(str(event.detail.get("takers") or "").split())


def tools_in(event: Event) -> tuple[str, ...] | None:
    """The tools that an `accepted` or `raised` names; None if it has no such list."""
    names = event.detail.get("tools")
    if names is None:
        return None
    # Others' events are data: a word that is no tool's name is left out.
    return tuple(name for name in str(names).split() if re.fullmatch(TOOL, name))[:MAX_TOOLS]
