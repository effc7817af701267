"""The hierarchy: each reports to somebody who is there, and not in a circle."""

from __future__ import annotations

from collections.abc import Iterator

from clawbus.org.checks.draft import Draft
from clawbus.org.mistakes import Wrong, near


def superiors(draft: Draft) -> Iterator[Wrong]:
    """An agent reports to an agent or a person, a person to a person."""
    everyone = [*draft.entries("agents"), *draft.entries("humans")]
    boss: dict[str, str] = {}
    for entry in everyone:
        above, name = entry.text("reports_to"), entry.text("id")
        person = entry.place[0] == "humans"
        known = draft.people if person else draft.members
        if above is None:
            continue
        if above not in known:
            problem = "is an agent, and a person reports to a person" if above in draft.agents else "nobody has that id"
            yield Wrong(entry.at("reports_to"), problem, near(above, known - {str(name)}))
        elif name is not None:
            boss.setdefault(name, above)
    places = {str(entry.text("id")): entry.at("reports_to") for entry in reversed(everyone)}
    for circle in _circles(boss):
        yield Wrong(
            places[circle[0]], f"reports_to goes in a circle: {' -> '.join([*circle, circle[0]])}", "Cut it somewhere."
        )


def _circles(boss: dict[str, str]) -> Iterator[list[str]]:
    """Each once, from whichever member the file names first."""
    walked: set[str] = set()
    for start in boss:
        path: list[str] = []
        here: str | None = start
        while here is not None and here not in walked:
            walked.add(here)
            path.append(here)
            here = boss.get(here)
        if here in path:
            yield path[path.index(here) :]
