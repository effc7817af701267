"""Names that are used twice: everyone that can be addressed needs a name of its own."""

from __future__ import annotations

from collections.abc import Iterator

from clawbus.org.checks.draft import Draft
from clawbus.org.mistakes import Wrong

_KINDS = {"agents": "an agent", "humans": "a person", "teams": "a team", "pools": "a pool"}


def ids(draft: Draft) -> Iterator[Wrong]:
    """Agents, people, teams and pools share one name space; gateways have their own, and so has recurring work."""
    taken: dict[str, str] = {}
    for table, kind in _KINDS.items():
        yield from _of_table(draft, table, kind, taken)
    yield from _without_entry(draft, taken)
    yield from _of_table(draft, "gateways", "a gateway", {})
    yield from _of_table(draft, "recurring", "recurring work", {})


def _of_table(draft: Draft, table: str, kind: str, taken: dict[str, str]) -> Iterator[Wrong]:
    for entry in draft.entries(table):
        name = entry.text("id")
        if name in taken:
            yield Wrong(
                entry.at("id"), f"two of one id: there is {taken[name]} of that id already", "Each needs its own."
            )
        elif name is not None:
            taken[name] = kind


def _without_entry(draft: Draft, taken: dict[str, str]) -> Iterator[Wrong]:
    """A team that only agents name, also by naming none; and the person who is there when none is named."""
    reported: set[str] = set()
    for agent in draft.entries("agents"):
        team = draft.team_of(agent)
        if taken.get(team, "a team") != "a team" and team not in reported:
            reported.add(team)
            place = agent.at("team") if agent.text("team") else agent.place
            remedy = "Tasks go to teams, too: give one of them another name."
            yield Wrong(place, f"its team is {team!r}, which is the id of {taken[team]}", remedy)
        if "humans" not in draft.top.values and agent.text("id") in draft.people:
            yield Wrong(agent.at("id"), "is the id of the person who is there when [[humans]] names none",
                        "Take another id, or add [[humans]].")  # fmt: skip
