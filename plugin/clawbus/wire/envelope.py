"""The envelope: every message on the bus, as one frozen model and as JSON.

docs/protocol.md names the fields. Unknown fields are ignored, so that an older node understands a newer message. An
unknown version is a WireError. The subject's last token says who the sender is; `from` in the JSON is only compared
with it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

from clawbus.errors import InvalidInput, Unverified, WireError
from clawbus.wire.strict_json import read_object
from clawbus.wire.subjects import given_id

M = TypeVar("M", bound=BaseModel)
VERSION = 1
MAX_BODY_BYTES = 64 * 1024
"""The largest body that an agent or a person may send. Larger things do not belong in a prompt."""
MAX_RESULT_BYTES = 512 * 1024
"""The largest body of a result: a model's whole answer travels, beyond the limit of other messages (ADR 4)."""

Type = Literal[
    "task",
    "result",
    "message",
    "report",
    "progress",
    "blocker",
    "insight",
    "confirm",
    "contribution",
    "control",
]
MessageType = Literal["message", "report", "progress", "blocker", "insight", "confirm", "contribution"]
"""What agents, people and programs send as mail. The other types are tasks, results, and orders of clawbus itself."""
Priority = Literal["critical", "high", "medium", "low"]
Status = Literal["done", "failed", "cancelled", "timed_out", "dead"]
"""The ends of a task. A task has exactly one end: the first one that was written."""

# These fields stand outside the fence in a prompt, so they must not be able to say anything. `wire.subjects` has the
# same rule for ids.
_ID = r"^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$"
_TASK_ID = r"^[a-z2-7]{26}$"
_TO = r"^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?)?$"  # an id, or a topic
_WORD = r"^[A-Za-z0-9-]{1,128}$"
TOOL = r"^(?:[A-Za-z0-9_.-]{1,64}\*?|\*)$"
_SHA256 = r"^[0-9a-f]{64}$"
_FIRST_YEAR, _LAST_YEAR = 1970, 9000


def now() -> datetime:
    return datetime.now(UTC)


Id = Annotated[str, Field(pattern=_ID)]
"""The id of a member of the company. Free words would reach a model outside of the fence."""
MAX_PATH = 16
ToolName = Annotated[str, Field(pattern=TOOL)]
"""A tool as OpenClaw names it, such as exec. `web_*` means all tools that begin so."""
MAX_TOOLS = 128


def in_utc(at: datetime) -> datetime:
    """The same time in UTC. Raises ValueError if its year is not between 1970 and 9000."""
    # Near the ends of the calendar a deadline that is computed from it would overflow.
    if not _FIRST_YEAR <= at.year <= _LAST_YEAR:
        raise ValueError(f"not between the years {_FIRST_YEAR} and {_LAST_YEAR}")
    return at.astimezone(UTC)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Sla(_Part):
    """The times within which a task should be taken and done. The published tutorial has these names."""

    ack_within_seconds: int | None = Field(default=None, ge=1, le=30 * 86_400)
    complete_within_minutes: int | None = Field(default=None, ge=1, le=30 * 1_440)


class OnComplete(_Part):
    """The next task of a chain. It counts only if org.toml names an edge to there (`Org.edge`)."""

    to: str = Field(pattern=_ID)
    template: str = Field(default="", max_length=64)


class Artifact(_Part):
    """A file. `sender` has put its content on the bus under `sha256`; or `uri` is a foreign address, never fetched."""

    name: str = Field(max_length=255)
    sha256: str | None = Field(default=None, pattern=_SHA256)
    size_bytes: int | None = Field(default=None, ge=0)
    sender: str | None = Field(default=None, alias="from", pattern=_ID)
    uri: str | None = Field(default=None, max_length=2000)


class Budget(_Part):
    """The most that a tree of tasks may use; None: no bound."""

    turns: int | None = Field(default=None, ge=0)
    minutes: int | None = Field(default=None, ge=0)
    tokens: int | None = Field(default=None, ge=0)


class Envelope(BaseModel):
    """One message. Build it with keyword arguments (`sender=`); read it from bytes with `decode`."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    v: int = VERSION
    id: str = Field(pattern=_WORD)
    type: Type
    sender: str = Field(alias="from", pattern=_ID)
    to: str = Field(pattern=_TO)
    """An agent, a person, a pool, a team, "all", or a topic such as status.deploy."""
    task_id: str | None = Field(default=None, pattern=_TASK_ID)
    """The id of the task. A broadcast, a blocker and an insight have an id of their own here, for their events."""
    seed: str | None = Field(default=None, pattern=_TASK_ID)
    """Of a task: the word from which its sender has made the id (`subjects.given_id`)."""
    trace_id: str | None = Field(default=None, pattern=_WORD)
    parent: str | None = Field(default=None, pattern=_WORD)
    path: tuple[Id, ...] = Field(default=(), max_length=MAX_PATH)
    hops: int = Field(default=0, ge=0, le=64)
    subject: str = Field(default="", max_length=200)
    body: str
    priority: Priority = "medium"
    created_at: AwareDatetime = Field(default_factory=now)
    expires_at: AwareDatetime | None = None
    run_timeout_s: int | None = Field(default=None, ge=1, le=86_400)
    """Of a task: the seconds that its turn may take on the worker's gateway."""
    status: Status | None = None
    """Of a result: how the task ended."""
    sla: Sla | None = None
    on_complete: OnComplete | None = None
    artifacts: tuple[Artifact, ...] = Field(default=(), max_length=20)
    budget: Budget | None = None
    tools: tuple[ToolName, ...] | None = Field(default=None, max_length=MAX_TOOLS)
    """The only tools that the turn may use (`org.tool_bounds`); None: all that its agent has."""
    takers: tuple[Id, ...] | None = Field(default=None, max_length=256)
    """Of a task for a team or a pool: its members when it was given. An end of one who leaves later still counts."""
    needs_approval: bool | None = None
    """Of a task: True if a person decides before it starts."""

    @field_validator("created_at", "expires_at")
    @classmethod
    def _in_utc(cls, at: datetime | None) -> datetime | None:
        return None if at is None else in_utc(at)

    def encode(self) -> bytes:
        """JSON, UTF-8, without the fields that are not set."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()


def decode(data: bytes, sender: str) -> Envelope:
    """Read an envelope that arrived from `sender`, the subject's last token.

    Raises WireError if it is no envelope of version 1, or if it claims another sender. Raises Unverified for a task
    whose id is not its sender's.
    """
    envelope = read_as(Envelope, data, f"message from {sender}")
    if envelope.sender != sender:
        raise WireError(f"message from {sender} claims to be from {envelope.sender!r}")
    if envelope.type == "task":
        check_giver(sender, envelope.task_id, envelope.seed)
    return envelope


def check_giver(sender: str, task_id: str | None, seed: object) -> None:
    """Raises Unverified unless `seed` proves that `sender` has given the task of this id."""
    if not isinstance(seed, str) or task_id != given_id(sender, seed):
        raise Unverified(f"re-addressed: {sender} has not given a task of this id")


def read_as(kind: type[M], data: bytes, what: str) -> M:
    """Read bytes by the model `kind`. Raises WireError, which calls them `what` and quotes no word of their sender."""
    try:
        fields = read_object(data)
        # The version comes first: a newer one may mean something else by every other field.
        version = fields.get("v")
        if not isinstance(version, int) or version == VERSION:
            return kind.model_validate(fields)
    except (ValidationError, WireError) as error:
        raise WireError(f"malformed {what}: {_problem(error)}") from None
    raise WireError(f"{what} is of version {version}; this clawbus reads version {VERSION}")


def check_body(field: str, text: str) -> str:
    """Return a text that a person or a model may send. Raises InvalidInput, naming `field`."""
    if not isinstance(text, str) or not text.strip():
        raise InvalidInput(field, text, "empty", "Say what is to be done, in a sentence or more.")
    # The receiving gateway would read a command. Peers send tasks, never commands (OpenClaw docs/gateway/security).
    if text.lstrip().startswith("/"):
        raise InvalidInput(
            field,
            text,
            "begins with '/', which a gateway reads as a command",
            "Begin with a word. Commands do not travel on the bus.",
        )
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidInput(field, text, "not valid Unicode", "Remove the lone surrogates.") from None
    if size > MAX_BODY_BYTES:
        raise InvalidInput(
            field,
            text,
            f"{size} bytes; a message holds {MAX_BODY_BYTES}",
            "Put the long part into a file that the other side can reach, and send its path and a summary.",
        )
    return text


def cut(text: str, size_bytes: int) -> str:
    """The text, or its first `size_bytes` bytes and a line that says that it was cut."""
    data = text.encode("utf-8", "replace")  # half a surrogate pair must not raise
    if len(data) <= size_bytes:
        return text
    return f"{data[:size_bytes].decode('utf-8', 'ignore')}\n[cut here: {size_bytes} of {len(data)} bytes]"


def check_label(field: str, text: str) -> str:
    """Return the subject or label that a person or a model gives a message. Raises InvalidInput, naming `field`."""
    if len(text) > 200:
        raise InvalidInput(field, text, "longer than 200 characters", "Use a few words.")
    if text.splitlines() not in ([], [text]):  # it is shown within the lines of others
        raise InvalidInput(field, text, "has more than one line", "Write it in one.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(field, text, "not valid Unicode", "Remove the lone surrogates.") from None
    return text


def _problem(error: ValidationError | WireError) -> str:
    """A sentence that names the wrong field. It quotes no word of the message's sender."""
    if isinstance(error, ValidationError):
        detail = error.errors()[0]
        first, *more = detail["loc"] or ("payload",)
        # Only numbers of the path below the field: a key there may be a word of the sender.
        where = [str(first), *(str(part) for part in more if isinstance(part, int))]
        return f"{'.'.join(where)}: {detail['msg']}"
    return str(error)
