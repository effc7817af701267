"""Who is to see a broadcast, and who has."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from clawbus.org import Org
from clawbus.org.addressing import hearers
from clawbus.tasks.wake_rules import wakes
from clawbus.wire.envelope import Envelope
from clawbus.wire.events import Event


def expected(org: Org, said: Envelope, channel: str) -> list[str]:
    """The agents whose attention a broadcast asks for; its sender has seen it."""
    return [one for one in hearers(org, said.to) if one != said.sender and wakes(said, channel, org, one) != "never"]


def seen(events: Iterable[Event]) -> dict[str, datetime]:
    """When each agent was first shown a broadcast, from the events of its thread."""
    found: dict[str, datetime] = {}
    for event in events:
        if event.kind == "seen":
            found.setdefault(event.sender, event.at)
    return found
