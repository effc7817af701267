"""The subject grammar. No other module formats or splits a subject.

The company is the first token and the sender the last. So a publish permission such as `acme.dm.*.cto` pins the sender:
NATS authorization works on subjects, not on payloads. This module checks every token before it becomes one, since
nats-py lets wildcards and bidirectional Unicode pass.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from clawbus.errors import InvalidInput, WireError
from clawbus.wire.channels import CHANNELS, channel

PRIORITIES = ("critical", "high", "medium", "low")
TOPIC_KINDS = ("tasks", "decisions", "status", "meeting")
"""The kinds of topics. The published examples have tasks by skill, decisions by area, status by type."""

_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_TASK_ID = re.compile(r"[a-z2-7]{26}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PART = re.compile(r"[0-9]{1,4}")
_ID_REMEDY = "Use 1 to 32 of a-z, 0-9 and '-', with a letter or digit at both ends, such as cto-athena."


def check_id(field: str, value: str) -> str:
    """Return `value` if it can be an id (company, agent, gateway, human, team).

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


def is_task_id(value: str) -> bool:
    """True if a word has the form of a task id."""
    return _TASK_ID.fullmatch(value) is not None


def check_topic(field: str, value: str, wildcard: bool = False) -> tuple[str, str]:
    """Kind and name of a topic such as `status.deploy`; with `wildcard`, its name may be `*`. Raises InvalidInput."""
    kind, dot, name = value.partition(".") if isinstance(value, str) else ("", "", "")
    named = bool(_ID.fullmatch(name)) or (wildcard and name == "*")
    if kind not in TOPIC_KINDS or not dot or not named:
        remedy = f"Write it as <kind>.<name>, such as status.deploy; kinds: {', '.join(TOPIC_KINDS)}."
        raise InvalidInput(field, value, "not a topic", remedy)
    return kind, name


def new_task_id() -> str:
    """128 random bits in base 32. Nobody can guess it, and so nobody can end a task that he does not know."""
    return task_id_of(secrets.token_bytes(16))


def task_id_of(data: bytes) -> str:
    """The task id that the first 128 bits of `data` give. With a digest, the same cause gives the same id."""
    return base64.b32encode(data[:16]).decode().rstrip("=").lower()


def given_id(sender: str, seed: str) -> str:
    """The id of a task that `sender` gives. The seed proves that the id is the sender's.

    Many can read an id, on its subjects and in SPEND, and another sender could use it first.
    """
    return task_id_of(hashlib.sha256(f"{sender}\n{seed}".encode()).digest())


def new_message_id(sender: str) -> str:
    """A `Nats-Msg-Id`: the sender and 128 random bits, since the server's deduplication spans all senders.

    It has at most 59 characters; a nonce of the Synadia protocol has 64.
    """
    return f"{sender}-{new_task_id()}"


def _check_priority(field: str, value: str) -> str:
    if value not in PRIORITIES:
        raise InvalidInput(field, value, "unknown", f"Use one of: {', '.join(PRIORITIES)}.")
    return value


def _pattern(pattern: re.Pattern[str], what: str) -> Callable[[str, str], str]:
    def check(field: str, value: str) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise InvalidInput(field, value, f"not {what}")
        return value

    return check


_CHECKS: dict[str, Callable[[str, str], str]] = {
    "task": check_task_id,
    "priority": _check_priority,
    "sha256": _pattern(_SHA256, "a SHA-256 in hex"),
    "part": _pattern(_PART, "a part number"),
}
"""The check of each token. A token that is not named here is an id."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """The parts of a subject."""

    channel: str
    sender: str
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def to(self) -> str | None:
        return self.tokens.get("to")

    @property
    def task_id(self) -> str | None:
        return self.tokens.get("task")

    @property
    def priority(self) -> str | None:
        return self.tokens.get("priority")


@dataclass(frozen=True, slots=True)
class Subjects:
    """The subjects of one company. Builders raise InvalidInput for a token that is not right."""

    company: str

    def __post_init__(self) -> None:
        check_id("company", self.company)

    def build(self, name: str, sender: str, /, **tokens: str) -> str:
        """The subject on which `sender` publishes on a channel. `tokens`: by the names of the channel's row."""
        return self._join(name, sender, tokens, _checked)

    def filter(self, name: str, sender: str = "*", /, **tokens: str) -> str:
        """The subject for a consumer, a permission or a stream. The sender and each token may be `*`."""
        return self._join(name, sender, tokens, lambda key, value: value if value == "*" else _checked(key, value))

    def _join(self, name: str, sender: str, tokens: dict[str, str], check: Callable[[str, str], str]) -> str:
        row = channel(name)
        if row is None:
            raise InvalidInput("channel", name, "unknown", f"There are: {', '.join(known.name for known in CHANNELS)}.")
        middle = [check(token, tokens[token]) for token in row.tokens]
        return ".".join([self.company, name, *middle, check("from", sender)])

    def task(self, to: str, priority: str, sender: str) -> str:
        return self.build("tasks", sender, to=to, priority=priority)

    def dm(self, to: str, sender: str) -> str:
        return self.build("dm", sender, to=to)

    def ctl(self, to: str, sender: str) -> str:
        return self.build("ctl", sender, to=to)

    def end(self, task_id: str, sender: str) -> str:
        return self.build("end", sender, task=task_id)

    def event(self, task_id: str, sender: str) -> str:
        return self.build("events", sender, task=task_id)

    def presence(self, sender: str) -> str:
        return self.build("presence", sender)

    def tasks_for(self, agent: str, priority: str) -> str:
        return self.filter("tasks", to=agent, priority=priority)

    def dm_for(self, agent: str) -> str:
        return self.filter("dm", to=agent)

    def ctl_for(self, agent: str) -> str:
        return self.filter("ctl", to=agent)

    def ends_of(self, task_id: str) -> str:
        return self.filter("end", task=task_id)

    def events_of(self, task_id: str) -> str:
        return self.filter("events", task=task_id)

    def probe(self, stream: str, sender: str) -> str:
        """The subject on which the provisioner tests that a stream takes a write. Nobody reads it: it is no channel."""
        return f"{self.company}.probe.{check_id('stream', stream.lower())}.{check_id('from', sender)}"

    def everything(self, name: str) -> str:
        """The filter for all of a channel. It has the exact number of tokens: nothing longer or shorter matches."""
        row = channel(name)
        return self.filter(name, **dict.fromkeys(row.tokens if row else (), "*"))

    def may_publish(self, sender: str, group: str = "everyone") -> list[str]:
        """The publish permissions of one sender. `sender`: an id, or a `{{…}}` template that stands for one.

        `group`: "people" for a person, "agents" for an agent, "steward", "provisioner"; "everyone" for what all may.
        """
        wider = {
            "everyone": ("everyone",),
            "agents": ("everyone", "agents"),
            "people": ("everyone", "people"),
            "provisioner": ("provisioner",),
            "steward": ("everyone", "agents", "steward"),
        }
        rows = [row for row in CHANNELS if row.by in wider[group]]
        if not sender.startswith("{{"):
            check_id("from", sender)
        return [self.everything(row.name).removesuffix("*") + sender for row in rows]

    def addressed(self, subject: str) -> str:
        """The receiver that a subject names; empty if it names none, or is no subject of this company."""
        try:
            return self.parse(subject).to or ""
        except WireError:
            return ""

    def parse(self, subject: str) -> Parsed:
        """Split a received subject. Raises WireError if it is no subject of this company."""
        company, *rest = subject.split(".")
        if company != self.company or len(rest) < 2:
            raise WireError(f"not a subject of {self.company}: {subject!r}")
        row = channel(rest[0])
        if row is None or len(rest) != len(row.tokens) + 2:
            raise WireError(f"unknown subject: {subject!r}")
        tokens = dict(zip(row.tokens, rest[1:-1], strict=True))
        try:  # a permission pins only the sender, so any word may stand in the other tokens
            for name, value in (tokens | {"from": rest[-1]}).items():
                _checked(name, value)
        except InvalidInput as error:
            raise WireError(f"not a subject of {self.company}: {error.message}") from None
        return Parsed(row.name, rest[-1], tokens)


def _checked(name: str, value: str) -> str:
    return _CHECKS.get(name, check_id)(name, value)
