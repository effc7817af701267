"""Agents' gateways that exist, ports that are given once, models that can be called, roles that there are."""

from __future__ import annotations

from collections.abc import Iterator

from clawbus.org.bus_config import BusConfig, is_loopback
from clawbus.org.checks.draft import Draft, Entry
from clawbus.org.mistakes import Wrong, near
from clawbus.org.roles import known_roles, nearest

MOST_SLOTS = 7
"""An OpenClaw gateway runs eight turns at once (its `main` lane's limit); one is left for people."""
SCRIPTED = "scripted"
_BUS_PORT: int = BusConfig.model_fields["port"].default
_LEAF_PORT: int = BusConfig.model_fields["leaf_port"].default


def gateways(draft: Draft) -> Iterator[Wrong]:
    """Each agent in one that exists; each OpenClaw gateway with a port and no more slots than it can run."""
    for agent in draft.entries("agents"):
        home = agent.text("gateway")
        if home is not None and home not in draft.gateways:
            yield Wrong(agent.at("gateway"), "no such gateway", near(home, draft.gateways))
    for gateway in draft.entries("gateways"):
        if _is_program(gateway):
            continue
        if "port" not in gateway.values:
            yield Wrong(gateway.at("port"), "missing", 'Give the port of that gateway, or set kind = "program".')
        if (gateway.number("slots") or 0) > MOST_SLOTS:
            yield Wrong(
                gateway.at("slots"), f"an OpenClaw gateway runs eight turns: at most {MOST_SLOTS} can be for tasks",
                f"Write {MOST_SLOTS} or less.",
            )  # fmt: skip


def ports(draft: Draft) -> Iterator[Wrong]:
    """No port of this machine twice: neither of two gateways nor of a gateway and the bus."""
    bus = draft.top.table("bus")
    taken: dict[int, str] = {}
    for key, own, who in _of_the_bus(bus):
        if own in taken:
            yield Wrong(bus.at(key), f"{taken[own]} has that port already", "Each needs its own.")
        taken[own] = who
    for gateway in draft.entries("gateways"):
        port = gateway.number("port")
        if port is None or _is_program(gateway) or gateway.values.get("elsewhere") is True:
            continue
        if port in taken:
            yield Wrong(gateway.at("port"), f"{taken[port]} has that port already", "Each needs its own.")
        else:
            taken[port] = f"gateway {gateway.text('id')}"


def _of_the_bus(bus: Entry) -> Iterator[tuple[str, int, str]]:
    """The ports on which our own server listens: (field, port, what it is)."""
    if bus.text("url"):
        return
    port = bus.number("port") or _BUS_PORT
    yield "port", port, "the bus"
    if not is_loopback(bus.text("listen") or "localhost"):
        yield "join_port", bus.number("join_port") or port + 1, "the bus, for `clawbus join`,"
        yield "leaf_port", bus.number("leaf_port") or _LEAF_PORT, "the bus, for leaves,"


def models(draft: Draft) -> Iterator[Wrong]:
    """`provider/model`, or the demo's own."""
    for entry in (draft.top, *draft.entries("agents")):
        model = entry.text("model")
        provider, _, name = (model or "").partition("/")
        if model is not None and model != SCRIPTED and not (provider and name):
            remedy = near(model, [SCRIPTED], f'Write it as "provider/model", or "{SCRIPTED}".')
            yield Wrong(entry.at("model"), "not a model", remedy)


def roles(draft: Draft) -> Iterator[Wrong]:
    """Each agent's role is one of clawbus's, or one that the company calls its own.

    A misspelt one would get the neutral soul, and every tool that its own policy denies.
    """
    known, ours = known_roles(), draft.top.texts("roles")
    there = [*known, *(role for _, role in ours)]
    names = frozenset(there)
    for place, name in ours:
        if name in known:
            yield Wrong(place, "is a role of clawbus already", "Only roles of your own stand here: remove it.")
    for agent in draft.entries("agents"):
        role = agent.text("role")
        if role is not None and role not in names:
            close = nearest(role, there)
            meant = f"Did you mean {close!r}? " if close else ""
            own = f'One of your own, with the neutral soul and policy, stands at the top: roles = ["{role}"].'
            yield Wrong(agent.at("role"), "no such role", f"{meant}There are: {', '.join(there)}. {own}")


def _is_program(gateway: Entry) -> bool:
    return gateway.text("kind") == "program"
