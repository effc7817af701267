"""Roles that there are: a misspelt one would get the neutral soul, and every tool that its own policy denies."""

from __future__ import annotations

from collections.abc import Iterator

from clawbus.org.checks.draft import Draft
from clawbus.org.mistakes import Wrong
from clawbus.org.roles import known_roles, nearest


def roles(draft: Draft) -> Iterator[Wrong]:
    """Each agent's is one of clawbus's, or one that the company calls its own."""
    known, ours = known_roles(), draft.top.texts("roles")
    there = [*known, *(role for _, role in ours)]
    for place, name in ours:
        if name in known:
            yield Wrong(place, "is a role of clawbus already", "Only roles of your own stand here: remove it.")
    for agent in draft.entries("agents"):
        role = agent.text("role")
        if role is not None and role not in there:
            close = nearest(role, there)
            meant = f"Did you mean {close!r}? " if close else ""
            own = f'One of your own, with the neutral soul and policy, stands at the top: roles = ["{role}"].'
            yield Wrong(agent.at("role"), "no such role", f"{meant}There are: {', '.join(there)}. {own}")
