"""The members of a company: gateways, agents, people, teams and pools. Its rules stand in `policies`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict

from clawbus.errors import InvalidInput
from clawbus.org.roles import known_roles, nearest
from clawbus.wire.envelope import MAX_TOOLS, ToolName
from clawbus.wire.subjects import check_id, check_topic

STEWARD = "steward"
EXTERNAL = "external"
"""The sender of all that guests say, who have no credentials of the company. Never verified."""
RESERVED = frozenset({"all", "learning", EXTERNAL, STEWARD, "provisioner"})


def _id(value: str) -> str:
    try:
        check_id("id", value)
    except InvalidInput as error:
        raise ValueError(f"not an id. {error.remedy}") from None
    if value in RESERVED:
        raise ValueError(f"is reserved. Take another; reserved are: {', '.join(sorted(RESERVED))}.")
    return value


def _role(value: str) -> str:
    if not re.fullmatch(r"role-[a-z0-9-]{1,32}", value):
        such = nearest(value, known_roles()) or "role-cto"
        raise ValueError(f"not a role. Write a slug that begins with role-, such as {such}.")
    return value


Id = Annotated[str, AfterValidator(_id)]
Role = Annotated[str, AfterValidator(_role)]
Whole = Annotated[int, Strict()]
Flag = Annotated[bool, Strict()]
"""A number and a truth as TOML writes them: what stands in quotes is a text, for the checks between entries, too."""
Port = Annotated[Whole, Field(ge=1024, le=65535)]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Gateway(Part):
    """The home of agents. `own = true`: `clawbus up` writes its settings, starts and restarts it.

    Otherwise it is the user's: `clawbus join` puts the plugin there, and `token_file` holds its token. With
    `kind = "program"` there is no OpenClaw at all: a Python program does the work of its agents (`clawbus.serve`).
    """

    id: Id
    kind: Literal["openclaw", "program"] = "openclaw"
    port: Port = 0
    """Of the OpenClaw gateway; 0, and not asked for, where there is none."""
    own: Flag = True
    token_file: str | None = None
    elsewhere: Flag = False
    """On another machine, which `clawbus invite` and `clawbus join` have let in; `clawbus up` there runs it."""
    slots: Whole = Field(default=4, ge=1, le=256)
    """Tasks from the bus that run at once; an OpenClaw gateway has eight turns, and one must be left for people."""

    @property
    def is_program(self) -> bool:
        return self.kind == "program"

    @property
    def is_ours(self) -> bool:
        """True if `clawbus up` runs the gateway itself."""
        return self.own and not self.is_program


class Subscription(Part):
    """A topic that an agent hears: `status.deploy`, or `decisions.*`. `wake`: each message there asks for a turn."""

    topic: str
    wake: Flag = False


def _subscription(value: Any) -> Any:
    return {"topic": value} if isinstance(value, str) else value


def _topic(value: Subscription) -> Subscription:
    try:
        check_topic("topic", value.topic, wildcard=True)
    except InvalidInput as error:
        raise ValueError(f"not a topic. {error.remedy}") from None
    return value


class Agent(Part):
    """One agent, as the soul configuration names it. `id` is also its id in the gateway."""

    id: Id
    name: str = ""
    role: Role = "role-engineer"
    team: Id = "exec"
    reports_to: Id | None = None
    specialization: str = ""
    personality: str = ""
    skills: tuple[str, ...] = ()
    """Words by which `nats_org` finds it."""
    gateway: Id
    model: str | None = None
    """provider/model, or "scripted" for the demo's own; the company's `model` if it is not set."""
    delegates: Annotated[tuple[ToolName, ...] | None, Field(max_length=MAX_TOOLS)] = None
    """The tools that others may use for it; if it is not set what its role says, and mostly that is: all they have."""
    subscriptions: tuple[Annotated[Subscription, BeforeValidator(_subscription), AfterValidator(_topic)], ...] = ()


class Channel(Part):
    """A chat channel of one of the company's gateways, by OpenClaw's own names: where a person is reached."""

    gateway: Id
    channel: str
    to: str


class Human(Part):
    """A person of the company. `clawbus ask` and `clawbus send` speak as the first one unless --as says who.

    What concerns a person always reaches the inbox of the terminal; also `webhook_file` (a file of mode 600 with one
    URL, to which JSON is posted) and `channel`, where they are set.
    """

    id: Id
    name: str = ""
    reports_to: Id | None = None
    webhook_file: str | None = None
    channel: Channel | None = None


class Team(Part):
    """A team; a team that agents name needs no entry of its own."""

    id: Id
    name: str = ""


class Pool(Part):
    """Replicas of one role. A task for the pool is taken by one member."""

    id: Id
    members: tuple[Id, ...] = Field(min_length=1)
