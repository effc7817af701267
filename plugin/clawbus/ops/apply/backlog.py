"""Messages for somebody who has left the company: they lie in the streams, and no consumer hands them out any more.

Nothing is remembered of the company as it was: whoever is addressed on the bus, and is nobody in org.toml, has left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from clawbus.bus import Bus
from clawbus.errors import WireError
from clawbus.org import EXTERNAL, STEWARD, Org
from clawbus.provision.plan import info
from clawbus.wire.channels import CTL, INBOX, TASKS
from clawbus.wire.subjects import Subjects

QUEUES = {"tasks": TASKS, "dm": INBOX, "ctl": CTL}
"""The channels with a receiver, and their streams."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Messages that wait on one subject for somebody who has left."""

    name: str
    channel: str
    subject: str
    count: int

    @property
    def stream(self) -> str:
        return QUEUES[self.channel]


async def backlog(bus: Bus, org: Org) -> list[Waiting]:
    """All that waits for nobody. Raises BusAway or Refused."""
    return [left for channel in QUEUES for left in _of_nobody(org, await _waiting(bus, org, channel), channel)]


async def _waiting(bus: Bus, org: Org, channel: str) -> dict[str, int]:
    """The subjects of a channel that hold messages, and how many."""
    stream = QUEUES[channel]
    if await info(bus, f"STREAM.INFO.{stream}") is None:
        return {}
    pattern = Subjects(org.company).everything(channel)
    answer = await bus.api(f"STREAM.INFO.{stream}", {"subjects_filter": pattern})
    found: dict[str, int] = answer["state"].get("subjects") or {}
    return found


def _of_nobody(org: Org, waiting: dict[str, int], channel: str) -> Iterator[Waiting]:
    others = {*org.groups} if channel == "tasks" else org.people | {STEWARD, EXTERNAL}
    for subject, count in waiting.items():
        try:
            name = Subjects(org.company).parse(subject).to
        except WireError:
            continue
        if name is not None and name not in org.agents_by_id and name not in others:
            yield Waiting(name, channel, subject, count)
