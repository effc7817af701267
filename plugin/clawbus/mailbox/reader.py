"""The inbox reader: mail of this gateway's agents, from the stream into the ledger.

A message stays in the stream, under a lease that is renewed, until its agent has acknowledged it (or a result has been
announced): the stream is the inbox, the ledger only remembers what is held.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from clawbus.bus import Bus, Delivery
from clawbus.envelope import decode
from clawbus.errors import BusAway, WireError
from clawbus.ledger import Ledger, Mail
from clawbus.subjects import Subjects

log = logging.getLogger(__name__)


class Reader:
    """Handles deliveries of INBOX. `on_result` is called with each result that an open task has waited for."""

    def __init__(self, bus: Bus, ledger: Ledger, subjects: Subjects, agents: frozenset[str]) -> None:
        self._bus = bus
        self._ledger = ledger
        self._subjects = subjects
        self._agents = agents
        self.on_result: list[Callable[[str], None]] = []
        self.duplicates = 0

    async def handle(self, delivery: Delivery) -> None:
        """Keep one message. What is malformed, or not for us, is terminated with the reason and logged."""
        try:
            parsed = self._subjects.parse(delivery.subject)
            envelope = decode(delivery.data, parsed.sender)
            if parsed.to not in self._agents or envelope.to != parsed.to:
                raise WireError(f"addressed to {envelope.to!r}, arrived for {parsed.to!r}")
        except WireError as error:
            log.warning("mail %d refused: %s", delivery.stream_seq, error)
            await self._bus.term(delivery.ack_subject, str(error)[:200])
            return
        with self._ledger.together():
            mail = self._ledger.mail.add(envelope, parsed.to, delivery.stream_seq, delivery.ack_subject)
            is_new = mail.state != "acked" and self._took(mail)
        if is_new:
            self._due(mail)
        elif mail.state == "acked":  # the ack was lost
            await self._bus.ack(delivery.ack_subject)
        elif self._is_settled(mail):
            self.duplicates += 1
            await self.acknowledge(mail)

    def _took(self, mail: Mail) -> bool:
        """A result counts if this agent gave that task to that sender; else it is mail like any other."""
        envelope = mail.envelope
        sent = self._ledger.sent.get(envelope.task_id or "") if envelope.type == "result" else None
        if sent is None or sent.task.sender != mail.agent or envelope.sender != sent.task.to:
            return False
        return self._ledger.sent.took_result(sent.task_id, envelope)

    def _due(self, mail: Mail) -> None:
        for callback in self.on_result:
            callback(mail.envelope.task_id or "")

    def _is_settled(self, mail: Mail) -> bool:
        """Whether it brings a result that its session has had already."""
        sent = self._ledger.sent.get(mail.envelope.task_id or "") if mail.envelope.type == "result" else None
        return sent is not None and sent.task.sender == mail.agent and sent.announce in ("announced", "answered")

    async def recover(self) -> None:
        """At the start: acknowledge the results that a crash has kept from it after their announce."""
        for mail in self._ledger.mail.held():
            if self._is_settled(mail):
                await self.acknowledge(mail)

    async def acknowledge(self, mail: Mail) -> None:
        """Done with a message: out of the stream. If the bus is away, the lease is let go and it comes again."""
        self._ledger.mail.mark(mail, "acked")
        try:
            await self._bus.ack(mail.ack_subject)
        except BusAway:
            log.info("the ack of mail %d waits for the bus", mail.seq)

    async def settle(self, task_id: str) -> None:
        """Acknowledge whatever mail belongs to a task whose result has reached its session."""
        for mail in self._ledger.mail.of_task(task_id):
            if mail.envelope.type == "result":
                await self.acknowledge(mail)

    async def keep_leases(self, period_s: float) -> None:
        """Renew the lease of all mail that is held, until cancelled."""
        while True:
            try:
                for mail in self._ledger.mail.held():
                    await self._bus.renew(mail.ack_subject)
            except BusAway:
                log.debug("leases wait for the bus")
            await asyncio.sleep(period_s)
