"""The subject grammar. Nobody else formats or splits a subject.

The company is the first token and the sender the last, so that a publish permission such as
`acme.dm.*.cto` pins the sender (NATS authorization works on subjects, not on payloads). Every id is
checked here before it becomes a token: nats-py itself lets wildcards and bidirectional Unicode pass.
"""

from __future__ import annotations

import base64
import re
import secrets
from dataclasses import dataclass

from clawbus.errors import InvalidInput, WireError

PRIORITIES = ("critical", "high", "medium", "low")

_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_TASK_ID = re.compile(r"[a-z2-7]{26}")
_ID_REMEDY = "Use 1 to 32 of a-z, 0-9 and '-', with a letter or digit at both ends, such as cto-athena."


def check_id(field: str, value: str) -> str:
    """Return `value` if it can be an id (company, agent, gateway, human).

    Raises InvalidInput, naming `field`: wildcards, dots, spaces, Unicode and control characters are refused.
    """
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise InvalidInput(field, value, "not an id", _ID_REMEDY)
    return value


def check_task_id(field: str, value: str) -> str:
    """Return `value` if it can be a task id: 128 bits in base 32, 26 characters. Raises InvalidInput."""
    if not isinstance(value, str) or not _TASK_ID.fullmatch(value):
        raise InvalidInput(field, value, "not a task id", "Take one of 26 characters from `clawbus tasks`.")
    return value


def new_task_id() -> str:
    """128 random bits in base 32: unguessable, so that nobody can end a task that he was not told of."""
    return base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower()


def new_message_id(sender: str) -> str:
    """A `Nats-Msg-Id`: the sender and 128 random bits, since the server's dedup spans all senders."""
    return f"{sender}-{secrets.token_hex(16)}"


@dataclass(frozen=True, slots=True)
class Parsed:
    """A subject taken apart. `to` is None where the channel has no receiver."""

    channel: str
    sender: str
    to: str | None = None
    task_id: str | None = None
    priority: str | None = None


@dataclass(frozen=True, slots=True)
class Subjects:
    """The subjects of one company. Builders raise InvalidInput for anything that is not an id."""

    company: str

    def __post_init__(self) -> None:
        check_id("company", self.company)

    def task(self, to: str, priority: str, sender: str) -> str:
        if priority not in PRIORITIES:
            raise InvalidInput("priority", priority, "unknown", f"Use one of: {', '.join(PRIORITIES)}.")
        return f"{self.company}.tasks.{check_id('to', to)}.{priority}.{check_id('from', sender)}"

    def dm(self, to: str, sender: str) -> str:
        return f"{self.company}.dm.{check_id('to', to)}.{check_id('from', sender)}"

    def ctl(self, to: str, sender: str) -> str:
        return f"{self.company}.ctl.{check_id('to', to)}.{check_id('from', sender)}"

    def end(self, task_id: str, sender: str) -> str:
        return f"{self.company}.end.{check_task_id('task_id', task_id)}.{check_id('from', sender)}"

    def event(self, task_id: str, sender: str) -> str:
        return f"{self.company}.events.{check_task_id('task_id', task_id)}.{check_id('from', sender)}"

    def presence(self, sender: str) -> str:
        return f"{self.company}.presence.{check_id('from', sender)}"

    # Filters: where a consumer, a permission or a stream wants a wildcard. `agent` may be "*".

    def tasks_for(self, agent: str, priority: str) -> str:
        return f"{self.company}.tasks.{_token(agent)}.{priority}.*"

    def dm_for(self, agent: str) -> str:
        return f"{self.company}.dm.{_token(agent)}.*"

    def ctl_for(self, agent: str) -> str:
        return f"{self.company}.ctl.{_token(agent)}.*"

    def ends_of(self, task_id: str) -> str:
        return f"{self.company}.end.{check_task_id('task_id', task_id)}.*"

    def events_of(self, task_id: str) -> str:
        return f"{self.company}.events.{check_task_id('task_id', task_id)}.*"

    def everything(self, channel: str) -> str:
        return f"{self.company}.{channel}.>"

    def may_publish(self, sender: str) -> list[str]:
        """The publish permissions of one sender: his id is the last token of each."""
        me = check_id("from", sender)
        shapes = ("tasks.*.*", "dm.*", "ctl.*", "end.*", "events.*", "presence")
        return [f"{self.company}.{shape}.{me}" for shape in shapes]

    def parse(self, subject: str) -> Parsed:
        """Take a received subject apart. Raises WireError if it is not one of this company's."""
        tokens = subject.split(".")
        if len(tokens) < 3 or tokens[0] != self.company:
            raise WireError(f"not a subject of {self.company}: {subject!r}")
        channel, rest = tokens[1], tokens[2:]
        if channel == "tasks" and len(rest) == 3:
            return Parsed(channel, rest[2], to=rest[0], priority=rest[1])
        if channel in ("dm", "ctl") and len(rest) == 2:
            return Parsed(channel, rest[1], to=rest[0])
        if channel in ("end", "events") and len(rest) == 2:
            return Parsed(channel, rest[1], task_id=rest[0])
        if channel == "presence" and len(rest) == 1:
            return Parsed(channel, rest[0])
        raise WireError(f"unknown subject: {subject!r}")


def _token(agent: str) -> str:
    return agent if agent == "*" else check_id("agent", agent)
