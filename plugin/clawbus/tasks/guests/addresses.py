"""From a subject of a guest to the company's own address: which channel, and whose."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from clawbus.errors import InvalidInput
from clawbus.org import Org
from clawbus.wire.subjects import check_topic

Box = Literal["tasks", "dm", "all", "team", "topics", "learning"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where words of a guest belong. `to`: the agents, a team, a topic or "all"; nobody if the org has no such role."""

    box: Box
    to: tuple[str, ...] = ()
    tokens: dict[str, str] = field(default_factory=dict)
    """Of the channel, besides `to`."""
    queues: tuple[str, ...] = ()
    """Who may be given a task there, the first one first: the pool of the role's replicas, else one of its agents."""


def place(org: Org, subject: str) -> Place | None:
    """The place of a subject that `heard` names; None if nobody of the company is meant."""
    first, *rest = subject.split(".")
    found: Place | None = None
    if first == org.guests.komodo:
        found = _komodo(org, rest)
    if found is None and first == org.guests.hub:
        found = _hub(org, rest)
    if found is None and first == org.guests.genbrain:
        found = _genbrain(org, rest)
    return found if found is not None and found.to else None


def role(org: Org, word: str) -> tuple[str, ...]:
    """Who is meant by `cto` or `operator-backend`: the agent of that id, else those whose role is role-<word>."""
    name = word.removeprefix("operator-")
    for one in (word, name):
        if one in org.agents_by_id:
            return (one,)
    return tuple(agent.id for agent in org.agents_by_role.get(f"role-{name}", ()))


def _of_role(org: Org, box: Box, word: str) -> Place:
    """A role's own place. Its replicas share a queue: the pool of that name, or the one that is made of them."""
    agents, name = role(org, word), word.removeprefix("operator-")
    pools = [pool for pool in org.pools if pool.id == name or (len(agents) > 1 and {*pool.members} == {*agents})]
    found = agents or next((pool.members for pool in pools), ())
    return Place(box, found, queues=(*(pool.id for pool in pools), *found))


def _komodo(org: Org, rest: list[str]) -> Place | None:
    if rest == ["all"]:
        return Place("all", ("all",))
    if len(rest) == 1 and rest[0] in org.team_ids:
        return Place("team", (rest[0],), {"team": rest[0]})
    if len(rest) == 2 and rest[0] == "dm":
        agents = tuple(agent.id for agent in org.agents if agent.id == rest[1])
        return Place("dm", agents, queues=agents)
    return None


def _hub(org: Org, rest: list[str]) -> Place | None:
    if rest == ["global", "announcements"]:
        return Place("all", ("all",))
    if len(rest) == 3 and rest[0] == "operators" and rest[2] == "inbox":
        return _of_role(org, "dm", rest[1])
    if len(rest) == 3 and rest[0] == "topics":
        return _topic(rest[1], rest[2])
    return None


def _genbrain(org: Org, rest: list[str]) -> Place | None:
    if len(rest) == 3 and rest[0] == "agents":
        if rest[2] == "status":
            return _topic("status", rest[1])
        return _of_role(org, "tasks" if rest[2] == "tasks" else "dm", rest[1])
    if rest == ["org", "broadcasts"]:
        return Place("all", ("all",))
    if len(rest) == 2 and rest[0] == "org":
        return _topic("status", rest[1])
    if len(rest) == 2 and rest[0] == "learning":
        return Place("learning", ("learning",))
    return None


def _topic(kind: str, name: str) -> Place | None:
    try:
        check_topic("topic", f"{kind}.{name}")
    except InvalidInput:
        return None
    return Place("topics", (f"{kind}.{name}",), {"kind": kind, "name": name})
