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
from clawbus.tasks.wake_rules import address_of, wakes
from clawbus.wire.channels import BCAST
from clawbus.wire.envelope import Envelope
from clawbus.wire.subjects import Subjects

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
            broadcast = await self._bus.verifier.envelope(self._subjects, delivery)
            if broadcast.to != address_of(parsed):
                raise WireError(f"addressed to {broadcast.to!r}, arrived for {address_of(parsed)!r}")
            if await self._clock.has_passed(broadcast.expires_at):
                raise WireError("it had expired")
        except WireError as error:
            log.warning("broadcast %d refused: %s", delivery.stream_seq, error)
            await self._bus.term(delivery.ack_subject, str(error)[:200])
            return
        await self._keep(broadcast, delivery.stream_seq)
        await self._bus.ack(delivery.ack_subject)

    async def _keep(self, broadcast: Envelope, seq: int) -> None:
        channel = channel_of(self._org, broadcast.to)
        here = [agent for agent in hearers(self._org, broadcast.to) if agent in self._agents - {broadcast.sender}]
        asked = {
            agent: await self._bounds.asks(broadcast, agent, wakes(broadcast, channel, self._org, agent))
            for agent in here
        }
        with self._ledger.together():
            for agent, asks in asked.items():
                self._ledger.mail.add(broadcast, agent, seq, channel=channel, asks=asks)
        self._signals.mail()
