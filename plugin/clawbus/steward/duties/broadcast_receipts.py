"""Broadcast receipts: an alert for each broadcast that some agents have not seen in time.

A node publishes `seen` for each of its agents that has read a broadcast, or whose turn has begun with it. Receipts are
expected from the agents whose attention it asks for (`tasks.wake_rules`). A report on a topic that wakes nobody may
stay unread.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, ClassVar

from clawbus.org import EXTERNAL, STEWARD, Org
from clawbus.org.addressing import channel_of, hearers
from clawbus.org.duration import in_words
from clawbus.steward.context import in_line
from clawbus.steward.duty import Duty
from clawbus.tasks.wake_rules import address_of, wakes
from clawbus.wire.envelope import Envelope, now
from clawbus.wire.events import Event
from clawbus.wire.subjects import Parsed

log = logging.getLogger(__name__)


class BroadcastReceipts(Duty):
    """A timer of this duty is a broadcast. Its key is the broadcast's thread."""

    rule: ClassVar[str] = "receipts"
    period_s: ClassVar[float | None] = 2.0

    async def on_broadcast(self, broadcast: Envelope, parsed: Parsed) -> None:
        agents = expected(self.context.org, broadcast, channel_of(self.context.org, broadcast.to))
        if not agents or broadcast.to != address_of(parsed):  # the nodes refuse it, so nobody will see it
            return
        if broadcast.task_id is None:  # a receipt stands under the thread's id, so there can be none
            log.warning("a broadcast of %s has no id of its own; there are no receipts for it", broadcast.sender)
            return
        due = min(broadcast.created_at, now()) + timedelta(seconds=self.context.org.policies.receipts_s)
        body = {"from": broadcast.sender, "to": broadcast.to, "subject": broadcast.subject, "agents": agents}
        await self.context.at(self.rule, broadcast.task_id, due, body)

    async def on_timer(self, key: str, body: dict[str, Any]) -> None:
        agents, sender = list(map(str, body["agents"])), str(body["from"])
        missing = await self._missing(key, agents)
        if not missing:
            return
        within = in_words(self.context.org.policies.receipts_s)
        what = f"The broadcast {key} of {sender} to {body['to']}{_named(str(body.get('subject') or ''))}"
        text = (
            f"{what} was seen by {len(agents) - len(missing)} of {len(agents)} within {within}; "
            f"not by: {', '.join(missing)}."
        )
        informed = (sender,) if sender in self.context.org.people else ()
        if sender not in (STEWARD, EXTERNAL):
            await self.context.tell(
                sender, text, cause=(self.rule, key), subject="not seen by all", kind="report", parent=key
            )
        await self.context.alert(self.rule, key, True, text, informed=informed, agents=agents, missing=missing)

    async def tick(self) -> None:
        """Clear the alert of each broadcast that all have seen by now."""
        for alert in await self.context.alerts.raised(self.rule):
            agents = list(map(str, alert.detail.get("agents", [])))
            if not await self._missing(alert.key, agents):
                await self.context.alert(self.rule, alert.key, False, "seen by all", agents=agents)

    async def _missing(self, thread: str, agents: list[str]) -> list[str]:
        """The agents that have not seen it, but for those that have left the company since."""
        have = seen(await self.context.history.events(thread))
        here = {agent.id for agent in self.context.org.agents}
        return [agent for agent in agents if agent not in have and agent in here]


def _named(subject: str) -> str:
    return f" ({in_line(subject)})" if subject else ""


def expected(org: Org, broadcast: Envelope, channel: str) -> list[str]:
    """The agents whose attention a broadcast asks for, without its sender."""
    others = [agent for agent in hearers(org, broadcast.to) if agent != broadcast.sender]
    return [agent for agent in others if wakes(broadcast, channel, org, agent) != "never"]


def seen(events: Iterable[Event]) -> dict[str, datetime]:
    """Agent -> the time at which it was first shown a broadcast. `events`: those of the broadcast's thread."""
    found: dict[str, datetime] = {}
    for event in events:
        if event.kind == "seen":
            found.setdefault(event.sender, event.at)
    return found
