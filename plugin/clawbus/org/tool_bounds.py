"""The tools that a task's turn may use: bounds of tool names, which only become narrower on their way (ADR 20).

A bound is a tuple of names; one that ends in `*` stands for all that begin so. None bounds nothing, the empty tuple
leaves nothing. Whatever is cut off here cannot come back: a bound of two bounds permits what both permit.
"""

from __future__ import annotations

import functools
import tomllib

from clawbus.errors import Missing
from clawbus.org import EXTERNAL, Org
from clawbus.settings import asset_folder
from clawbus.wire.envelope import Envelope

Bound = tuple[str, ...] | None
POLICY = "policy.toml"
"""A role's file in `souls`; its `delegates` is what the role's agents may let others use, where org.toml is silent."""


def permits(bound: Bound, tool: str) -> bool:
    """True if a turn that is bounded so may call a tool."""
    return bound is None or any(_covers(name, tool) for name in bound)


def meet(*bounds: Bound) -> Bound:
    """The bound that permits what each of these permits."""
    found: Bound = None
    for bound in bounds:
        found = bound if found is None else found if bound is None else _both(found, bound)
    return found


def delegable(org: Org, member: str) -> Bound:
    """The tools that a member may let others use: its `delegates` in org.toml, else its role's; for guests [guests]'s.

    None for a person, who bounds nothing.
    """
    if member == EXTERNAL:
        return org.guests.delegates
    agent = org.agents_by_id.get(member)
    if agent is None:
        return None
    return agent.delegates if agent.delegates is not None else _of_role(agent.role)


def bound_of(org: Org, envelope: Envelope) -> Bound:
    """The tools for the turn of a task or a message: those that it brings, within those that its sender may give.

    Both sides ask this: the bus verifies the sender, but what its envelope says may be crafted.
    """
    return meet(envelope.tools, delegable(org, envelope.sender))


def _both(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """Of two names of which one covers the other, the narrower; such is all that two lists of beginnings share."""
    mine = [name for name in one if any(_covers(wide, name) for wide in other)]
    theirs = [name for name in other if any(_covers(wide, name) for wide in one)]
    return tuple(dict.fromkeys([*mine, *theirs]))


def _covers(wide: str, narrow: str) -> bool:
    return wide == narrow or (wide.endswith("*") and narrow.startswith(wide[:-1]))


@functools.cache
def _of_role(role: str) -> Bound:
    path = asset_folder("souls") / role.removeprefix("role-") / POLICY
    try:
        tools = tomllib.loads(path.read_text("utf-8")).get("delegates") if path.is_file() else None
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise Missing(f"{path} cannot be read: {error}", "Install clawbus again.") from None
    return None if tools is None else tuple(tools)
