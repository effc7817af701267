"""People in the file: their oversight rules, the alerts that they get, and the channels where they are reached."""

from __future__ import annotations

from collections.abc import Iterator

from clawbus.org.checks.draft import Draft
from clawbus.org.mistakes import Wrong, near


def oversight(draft: Draft) -> Iterator[Wrong]:
    """Each rule is for one agent or for one edge, and names a person if anybody."""
    yield from _beside_each_other(draft)
    for rule in draft.entries("oversight"):
        agent, source, to, human = (rule.text(key) for key in ("agent", "from", "to", "human"))
        if agent and (source or to):
            yield Wrong(rule.at("agent"), "a rule for an agent and for an edge at once", "Make two rules of it.")
        elif not agent and not (source and to):
            yield Wrong(rule.place, "says for whom neither by agent nor by from and to", "Name one agent, or one edge.")
        for key, name, known in (
            ("agent", agent, draft.agents),
            ("from", source, draft.members),
            ("to", to, draft.takers),
            ("human", human, draft.people),
        ):
            if name is not None and name not in known:
                problem = "no such person" if key == "human" else "there is nobody of that id"
                yield Wrong(rule.at(key), problem, near(name, known))


def _beside_each_other(draft: Draft) -> Iterator[Wrong]:
    """Of one agent, or one edge, there may be a rule of each level; none goes with no other."""
    levels: dict[tuple[str | None, ...], set[str | None]] = {}
    for rule in draft.entries("oversight"):
        whose, level = tuple(rule.text(key) for key in ("agent", "from", "to")), rule.text("level")
        others = levels.setdefault(whose, set())
        if level in others:
            yield Wrong(rule.at("level"), "a second rule of that level for the same", "Remove one of them.")
        elif others and "none" in {level, *others}:
            yield Wrong(rule.at("level"), "another rule says otherwise of the same", "Remove one of them.")
        others.add(level)


def alerts(draft: Draft) -> Iterator[Wrong]:
    """Alerts go to people."""
    for place, name in draft.top.table("alerts").texts("to"):
        if name not in draft.people:
            problem = "is an agent: alerts go to people" if name in draft.agents else "no such person"
            yield Wrong(place, problem, near(name, draft.people))


def channels(draft: Draft) -> Iterator[Wrong]:
    """A person's chat channel is one of an OpenClaw gateway."""
    kinds = {gateway.text("id"): gateway.text("kind") for gateway in draft.entries("gateways")}
    for human in draft.entries("humans"):
        channel = human.table("channel")
        gateway = channel.text("gateway")
        if gateway is None:
            continue
        if gateway not in draft.gateways:
            yield Wrong(channel.at("gateway"), "no such gateway", near(gateway, draft.gateways))
        elif kinds[gateway] == "program":
            yield Wrong(channel.at("gateway"), "is a program, which has no chat channels", "Name an OpenClaw gateway.")
