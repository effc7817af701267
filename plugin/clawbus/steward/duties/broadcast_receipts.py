"""Receipts: who has been shown a broadcast, and who has not in time.

A node says `seen` for each of its agents that has read one, or whose turn was begun with it. Asked are those whom it
concerns enough to ask for their attention at all (`mailbox.rules`): a report on a topic that wakes nobody may lie.
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
    """A timer of this duty is a broadcast; its key is its thread."""

    rule: ClassVar[str] = "receipts"
    period_s: ClassVar[float | None] = 2.0

    async def on_broadcast(self, said: Envelope, parsed: Parsed) -> None:
        agents = expected(self.context.org, said, channel_of(self.context.org, said.to))
        if not agents or said.to != address_of(parsed):  # the nodes refuse what names another address than its subject
            return
        if said.task_id is None:  # who has seen it cannot be said: a receipt stands under the thread's id
            log.warning("a broadcast of %s has no id of its own; there are no receipts for it", said.sender)
            return
        due = min(said.created_at, now()) + timedelta(seconds=self.context.org.policies.receipts_s)
        body = {"from": said.sender, "to": said.to, "subject": said.subject, "agents": agents}
        await self.context.at(self.rule, said.task_id, due, body)

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
        told = (sender,) if sender in self.context.org.people else ()
        if sender not in (STEWARD, EXTERNAL):
            await self.context.tell(
                sender, text, cause=(self.rule, key), subject="not seen by all", kind="report", parent=key
            )
        await self.context.alert(self.rule, key, True, text, told=told, agents=agents, missing=missing)

    async def tick(self) -> None:
        """A flag is taken down when all have seen it."""
        for alert in await self.context.alerts.raised(self.rule):
            agents = list(map(str, alert.detail.get("agents", [])))
            if not await self._missing(alert.key, agents):
                await self.context.alert(self.rule, alert.key, False, "seen by all", agents=agents)

    async def _missing(self, thread: str, agents: list[str]) -> list[str]:
        """Those who have not seen it; who has left the company since is not waited for."""
        have = seen(await self.context.history.events(thread))
        here = {agent.id for agent in self.context.org.agents}
        return [agent for agent in agents if agent not in have and agent in here]


def _named(subject: str) -> str:
    return f" ({in_line(subject)})" if subject else ""


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
