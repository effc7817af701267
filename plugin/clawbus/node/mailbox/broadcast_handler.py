"""A broadcast to everyone, to a team or on a topic becomes mail of each agent of this gateway that hears it.

The broadcast is acknowledged on the bus as soon as it stands in the ledger: its receipts are events (`seen`).
"""

from __future__ import annotations

import logging

from clawbus.bus import Bus, Delivery, ServerClock
from clawbus.errors import WireError
from clawbus.node.ledger import Ledger
from clawbus.node.mailbox.rate_limits import MailBounds
from clawbus.node.signals import NodeSignals
from clawbus.org import Org
from clawbus.org.addressing import channel_of, hearers
from clawbus.tasks.wake_rules import wakes
from clawbus.wire.channels import BCAST
from clawbus.wire.envelope import Envelope
from clawbus.wire.subjects import Parsed, Subjects

log = logging.getLogger(__name__)


class BroadcastHandler:
    """Handles deliveries of BCAST, and signals new mail."""

    def __init__(
        self, bus: Bus, ledger: Ledger, org: Org, agents: frozenset[str], bounds: MailBounds, signals: NodeSignals
    ) -> None:
        self._bus = bus
        self._ledger = ledger
        self._org = org
        self._subjects = Subjects(org.company)
        self._agents = agents
        self._bounds = bounds
        self._clock = ServerClock(bus, BCAST, bus.identity.name)
        self._signals = signals

    async def handle(self, delivery: Delivery) -> None:
        """Keep one broadcast. What is malformed or too late is terminated with the reason and logged."""
        try:
            parsed = self._subjects.parse(delivery.subject)
            said = await self._bus.verifier.envelope(self._subjects, delivery)
            if said.to != place(parsed):
                raise WireError(f"addressed to {said.to!r}, arrived for {place(parsed)!r}")
            if await self._clock.has_passed(said.expires_at):
                raise WireError("it had expired")
        except WireError as error:
            log.warning("broadcast %d refused: %s", delivery.stream_seq, error)
            await self._bus.term(delivery.ack_subject, str(error)[:200])
            return
        await self._keep(said, delivery.stream_seq)
        await self._bus.ack(delivery.ack_subject)

    async def _keep(self, said: Envelope, seq: int) -> None:
        channel = channel_of(self._org, said.to)
        here = [one for one in hearers(self._org, said.to) if one in self._agents and one != said.sender]
        asked = {one: await self._bounds.asks(said, one, wakes(said, channel, self._org, one)) for one in here}
        with self._ledger.together():
            for agent, asks in asked.items():
                self._ledger.mail.add(said, agent, seq, channel=channel, asks=asks)
        self._signals.mail()


def place(parsed: Parsed) -> str:
    """The `to` that an envelope must have, by its subject."""
    match parsed.channel:
        case "team":
            return parsed.tokens["team"]
        case "topics":
            return f"{parsed.tokens['kind']}.{parsed.tokens['name']}"
    return parsed.channel
