"""A file that may be wrong, as the checks look at it: what is not of the right kind is as if it were not there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from clawbus.org.members import Agent
from clawbus.org.org import Org
from clawbus.org.toml_lines import Place

_TEAM: str = Agent.model_fields["team"].default
EVERYONE = "all"
_OWNER: str = Org.model_fields["humans"].default[0].id


@dataclass(frozen=True)
class Entry:
    """One table of the file."""

    place: Place
    values: Mapping[str, Any]

    def at(self, key: str) -> Place:
        return (*self.place, key)

    def text(self, key: str) -> str | None:
        """The text under a key; None if there is none, or something else, or nothing in it."""
        value = self.values.get(key)
        return value if isinstance(value, str) and value else None

    def number(self, key: str) -> int | None:
        value = self.values.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def texts(self, key: str) -> list[tuple[Place, str]]:
        """The texts of an array, each with its place."""
        value = self.values.get(key)
        found = value if isinstance(value, list) else []
        return [((*self.at(key), n), text) for n, text in enumerate(found) if isinstance(text, str)]

    def table(self, key: str) -> Entry:
        """A table within, empty if there is none."""
        value = self.values.get(key)
        return Entry(self.at(key), value if isinstance(value, dict) else {})


class Draft:
    """The entries of a file, and the names that there are."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.top = Entry((), data)

    def entries(self, table: str) -> list[Entry]:
        """The tables of `[[table]]`."""
        value = self.top.values.get(table)
        found = value if isinstance(value, list) else []
        return [Entry((table, n), values) for n, values in enumerate(found) if isinstance(values, dict)]

    def _ids(self, table: str) -> frozenset[str]:
        return frozenset(name for entry in self.entries(table) if (name := entry.text("id")))

    @cached_property
    def agents(self) -> frozenset[str]:
        return self._ids("agents")

    @cached_property
    def members(self) -> frozenset[str]:
        """Agents and people: those that somebody can report to."""
        return self.agents | self.people

    @cached_property
    def people(self) -> frozenset[str]:
        """The humans; the owner, who is there when nobody else is named."""
        return self._ids("humans") if "humans" in self.top.values else frozenset({_OWNER})

    @cached_property
    def gateways(self) -> frozenset[str]:
        return self._ids("gateways")

    def team_of(self, agent: Entry) -> str:
        return agent.text("team") or _TEAM

    @cached_property
    def teams(self) -> frozenset[str]:
        """The teams that have a member."""
        return frozenset(self.team_of(agent) for agent in self.entries("agents"))

    @cached_property
    def meeting_places(self) -> frozenset[str]:
        """A meeting is of a team, or of all."""
        return self.teams | {EVERYONE}

    @cached_property
    def takers(self) -> frozenset[str]:
        """Agents, teams and pools: a task can be given to each."""
        return self.agents | self.teams | self._ids("pools")
