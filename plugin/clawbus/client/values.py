"""The values that a program gets: a task, its result, a message."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from clawbus.tasks.ends import End
from clawbus.wire.envelope import Envelope, Priority, Status, Type


@dataclass(frozen=True, slots=True)
class Task:
    """A task that was given, or that a handler is to do."""

    id: str
    requester: str
    """The agent, person or steward that gave it. The server has checked the sender."""
    to: str
    """An agent, or a pool or team of which one member does it."""
    text: str
    label: str = ""
    priority: Priority = "medium"
    attempt: int = 0
    """For a handler, from 1: beyond 1 an earlier attempt has died, perhaps in the middle of its work."""
    tools: tuple[str, ...] | None = None
    """For a handler: all that it may use for this task, as its sender names it; None: that is left to it."""


@dataclass(frozen=True, slots=True)
class Result:
    """The end of a task. A task has exactly one."""

    task_id: str
    status: Status
    """done, failed, cancelled, timed_out, or dead (its attempts were interrupted too often)."""
    text: str
    by: str
    """The one who ended it: the agent that did it, a person, its requester, the steward."""
    at: datetime

    @property
    def done(self) -> bool:
        return self.status == "done"


@dataclass(frozen=True, slots=True)
class Message:
    """A message in an inbox. `number` is its place in the stream."""

    number: int
    type: Type
    sender: str
    subject: str
    text: str
    at: datetime
    task_id: str | None = None
    status: Status | None = None
    """Of a result: how the task ended."""


def task_of(envelope: Envelope, attempt: int = 0, tools: tuple[str, ...] | None = None) -> Task:
    return Task(
        envelope.task_id or "",
        envelope.sender,
        envelope.to,
        envelope.body,
        envelope.subject,
        envelope.priority,
        attempt,
        tools,
    )


def result_of(end: End) -> Result:
    return Result(end.envelope.task_id or "", end.status, end.envelope.body, end.by, end.at)


def unreadable(number: int, why: str) -> Message:
    """The value that stands for a message that cannot be read."""
    return Message(number, "message", "?", "malformed", why, datetime.fromtimestamp(0, UTC))


def message_of(number: int, mail: Envelope) -> Message:
    return Message(
        number,
        mail.type,
        mail.sender,
        mail.subject,
        mail.body,
        mail.created_at,
        mail.task_id,
        mail.status,
    )
