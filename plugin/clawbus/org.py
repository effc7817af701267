"""The company, as its org.toml says. Read here, checked whole, never guessed.

The agents' fields are the soul configuration's own: id, name, role, team, reports_to, specialization,
personality. `load` reports every mistake at once, each with its field, its value and the remedy.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from clawbus.errors import ClawbusError, InvalidInput, NotFound
from clawbus.subjects import check_id

STEWARD = "steward"
_RESERVED = {"all", "external", STEWARD}


def _id(value: str) -> str:
    try:
        check_id("id", value)
    except InvalidInput as error:
        raise ValueError(f"not an id. {error.remedy}") from None
    if value in _RESERVED:
        raise ValueError(f"is reserved; these are: {', '.join(sorted(_RESERVED))}")
    return value


Id = Annotated[str, AfterValidator(_id)]
Port = Annotated[int, Field(ge=1024, le=65535)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BusConfig(_Part):
    """`port`: our own nats-server on loopback. `url`: somebody else's, which `clawbus up` does not start."""

    port: Port = 4222
    url: str | None = None


class Gateway(_Part):
    """An OpenClaw gateway. `own = true`: `clawbus up` writes its settings, starts and restarts it.

    Otherwise it is the user's: `clawbus join` puts the plugin there, and `token_file` holds its token.
    """

    id: Id
    port: Port
    own: bool = True
    token_file: str | None = None
    slots: int = Field(default=4, ge=1, le=7)
    """Tasks from the bus that run at once; a gateway has eight turns, and one must be left for people."""


class Agent(_Part):
    """One agent, as the soul configuration names it. `id` is also its id in the gateway."""

    id: Id
    name: str = ""
    role: str = Field(default="role-engineer", pattern=r"^role-[a-z0-9-]{1,32}$")
    team: Id = "exec"
    reports_to: Id | None = None
    specialization: str = ""
    personality: str = ""
    gateway: Id
    model: str | None = None
    """provider/model, or "scripted" for the demo's own; the company's `model` if it is not set."""


class Human(_Part):
    """A person of the company. `clawbus ask` and `clawbus send` speak as the first one unless --as says who."""

    id: Id
    name: str = ""


class Policies(_Part):
    """Bounds with their defaults. Durations are in seconds."""

    lease_s: int = Field(default=60, ge=5, le=3600)
    run_deadline_s: int = Field(default=1800, ge=1, le=86400)
    quota: int = Field(default=20, ge=1, le=10000)
    """Waiting tasks per sender, receiver and priority; the server refuses the next one."""


class Org(_Part):
    """A whole company."""

    company: Id
    model: str = "scripted"
    bus: BusConfig = BusConfig()
    policies: Policies = Policies()
    gateways: tuple[Gateway, ...] = Field(min_length=1)
    agents: tuple[Agent, ...] = Field(min_length=1)
    humans: tuple[Human, ...] = (Human(id="owner"),)

    @property
    def url(self) -> str:
        return self.bus.url or f"nats://127.0.0.1:{self.bus.port}"

    @property
    def people(self) -> frozenset[str]:
        return frozenset(human.id for human in self.humans)

    def agent(self, agent_id: str, field: str = "to") -> Agent:
        """The agent of that id. Raises NotFound, with the names that exist, before anything is sent."""
        check_id(field, agent_id)
        for agent in self.agents:
            if agent.id == agent_id:
                return agent
        known = ", ".join(agent.id for agent in self.agents)
        raise NotFound(f"{field} = {agent_id!r}: no such agent in {self.company}", f"There are: {known}.")

    def gateway(self, gateway_id: str) -> Gateway:
        """The gateway of that id. Raises NotFound."""
        for gateway in self.gateways:
            if gateway.id == gateway_id:
                return gateway
        known = ", ".join(gateway.id for gateway in self.gateways)
        raise NotFound(f"gateway = {gateway_id!r}: no such gateway in {self.company}", f"There are: {known}.")

    def agents_of(self, gateway_id: str) -> tuple[Agent, ...]:
        return tuple(agent for agent in self.agents if agent.gateway == gateway_id)

    def model_of(self, agent: Agent) -> str:
        return agent.model or self.model


class OrgMistakes(InvalidInput):
    """Every mistake of one org.toml. `problems` holds one line each."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        ClawbusError.__init__(
            self,
            f"{path}: {len(problems)} mistake{'s' * (len(problems) > 1)}",
            "\n".join(f"  - {line}" for line in problems),
        )
        self.field, self.value, self.problems = "org.toml", str(path), problems


def load(path: Path) -> Org:
    """Read and check an org.toml. Raises NotFound if there is none, OrgMistakes with all that is wrong."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise NotFound(
            f"there is no {path}", "Write one with `clawbus init duo`, or name it with --org FILE."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise OrgMistakes(path, [f"cannot be read: {error}"]) from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise OrgMistakes(path, [f"not TOML: {error}"]) from None
    return parse(data, path)


def parse(data: dict[str, Any], path: Path = Path("org.toml")) -> Org:
    """Check a parsed file: its fields first, then what they say of each other. Raises OrgMistakes."""
    try:
        org = Org.model_validate(data)
    except ValidationError as error:
        raise OrgMistakes(path, [_explain(detail, data) for detail in error.errors()]) from None
    problems = list(_contradictions(org))
    if problems:
        raise OrgMistakes(path, problems)
    return org


def _explain(detail: Any, data: dict[str, Any]) -> str:
    where = _where(detail["loc"], data)
    if detail["type"] == "extra_forbidden":
        return f"{where} = {detail['input']!r}: unknown field. Remove it, or correct its spelling."
    if detail["type"] == "missing":
        return f"{where}: missing. Add it."
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{where} = {detail['input']!r}: {message}"


def _where(loc: tuple[int | str, ...], data: dict[str, Any]) -> str:
    """`agents[cto-athena].gateway` rather than `agents.1.gateway`: a person counts names, not indices."""
    parts: list[str] = []
    here: Any = data
    for step in loc:
        try:
            here = here[step]
        except (KeyError, IndexError, TypeError):
            here = None
        if isinstance(step, int):
            name = here.get("id", step + 1) if isinstance(here, dict) else step + 1
            parts[-1] += f"[{name}]"
        else:
            parts.append(step)
    return ".".join(parts)


def _contradictions(org: Org) -> Iterable[str]:
    ids = [*(agent.id for agent in org.agents), *(human.id for human in org.humans)]
    gateways = [gateway.id for gateway in org.gateways]
    ports = [str(gateway.port) for gateway in org.gateways]
    for kind, names in (("agent or human", ids), ("gateway", gateways), ("port", ports)):
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"{name}: two with the same {kind}. Each needs its own."
    for agent in org.agents:
        if agent.gateway not in gateways:
            yield f"agents[{agent.id}].gateway = {agent.gateway!r}: no such gateway. There are: {', '.join(gateways)}."
        if agent.reports_to is not None and agent.reports_to not in ids:
            yield f"agents[{agent.id}].reports_to = {agent.reports_to!r}: nobody has that id."
    yield from _circles(org)


def _circles(org: Org) -> Iterable[str]:
    boss = {agent.id: agent.reports_to for agent in org.agents}
    seen: set[str] = set()
    for start in boss:
        path = [start]
        while (above := boss.get(path[-1])) is not None and above not in path:
            path.append(above)
        if above is not None and above in path and not seen & set(path):
            seen |= set(path)
            yield f"reports_to goes in a circle: {' -> '.join([*path[path.index(above) :], above])}. Cut it somewhere."
