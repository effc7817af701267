"""The way of a message that an agent has: seen, done with, out of the stream."""

from __future__ import annotations

import asyncio
import logging

from clawbus.bus import Bus
from clawbus.errors import BusAway
from clawbus.node.ledger import Ledger, Mail
from clawbus.node.mailbox.outbox import Outbox

log = logging.getLogger(__name__)


class Inbox:
    """The inboxes of one gateway's agents: the stream holds them, the ledger remembers what is held."""

    def __init__(self, bus: Bus, ledger: Ledger, outbox: Outbox) -> None:
        self._bus = bus
        self._ledger = ledger
        self._outbox = outbox

    def read(self, mails: list[Mail]) -> None:
        """The agent has been shown these by nats_inbox; they wait until it has dealt with them."""
        with self._ledger.together():
            for mail in mails:
                if mail.state == "unread":
                    self._ledger.mail.mark(mail, "read")
                    self._seen(mail)

    async def shown(self, mails: list[Mail], wake: int) -> None:
        """A turn was begun with the whole of these: they are done with, and can still be answered."""
        with self._ledger.together():
            self._ledger.wakes.settled(wake, "shown")
            for mail in mails:
                if mail.state in ("unread", "read"):
                    self._ledger.mail.mark(mail, "shown")
                if mail.state == "unread":
                    self._seen(mail)
        for mail in mails:
            await self._ack(mail)

    def _seen(self, mail: Mail) -> None:
        """The receipt of a blocker, and of what was said to many, under its own thread."""
        if mail.envelope.task_id and (mail.channel != "dm" or mail.envelope.type == "blocker"):
            self._outbox.event("seen", mail.envelope.task_id, mail.agent, to=mail.envelope.to)

    async def acknowledge(self, mail: Mail) -> None:
        """Done with a message. If the bus is away, the lease is let go, it comes again, and is acknowledged then."""
        self._ledger.mail.mark(mail, "acked")
        if mail.state != "shown":  # else it has left the stream already
            await self._ack(mail)

    async def _ack(self, mail: Mail) -> None:
        if not mail.ack_subject:
            return
        try:
            await self._bus.ack(mail.ack_subject)
        except BusAway:
            log.info("the ack of mail %d waits for the bus", mail.seq)

    async def settle(self, task_id: str) -> None:
        """Acknowledge whatever mail belongs to a task whose result has reached its session."""
        for mail in self._ledger.mail.of_task(task_id):
            if mail.envelope.type == "result":
                await self.acknowledge(mail)

    def unbind(self, task_id: str) -> None:
        """A result finds no session any more: it is mail like any other, and waits to be read."""
        for mail in self._ledger.mail.of_task(task_id):
            if mail.state == "bound":
                self._ledger.mail.mark(mail, "unread")

    async def keep_leases(self, period_s: float) -> None:
        """Renew the lease of all mail that is held, until cancelled."""
        while True:
            try:
                for mail in self._ledger.mail.held():
                    await self._bus.renew(mail.ack_subject)
            except BusAway:
                log.debug("leases wait for the bus")
            await asyncio.sleep(period_s)
