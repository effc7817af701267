"""The inbox reader: mail of this gateway's agents, from the stream into the ledger.

A message stays in the stream, under a lease that is renewed, until its agent has acknowledged it (or a result has been
announced): the stream is the inbox, the ledger only remembers what is held.
"""

from __future__ import annotations

import logging

from clawbus.bus import Bus, Delivery, ServerClock
from clawbus.errors import WireError
from clawbus.node.ledger import Ledger, Mail
from clawbus.node.mailbox.correlation import record_result
from clawbus.node.mailbox.inbox import Inbox
from clawbus.node.mailbox.rate_limits import MailBounds
from clawbus.node.signals import NodeSignals
from clawbus.org import Org
from clawbus.tasks.dead_letters import DeadLetters
from clawbus.tasks.wake_rules import Asks, wakes
from clawbus.wire.channels import INBOX
from clawbus.wire.envelope import Envelope
from clawbus.wire.subjects import Subjects

log = logging.getLogger(__name__)
_DONE = ("acked", "shown")


class MailHandler:
    """Handles deliveries of INBOX: signals each result that an open task has waited for, and other new mail."""

    def __init__(
        self,
        bus: Bus,
        ledger: Ledger,
        org: Org,
        agents: frozenset[str],
        inbox: Inbox,
        bounds: MailBounds,
        signals: NodeSignals,
    ) -> None:
        self._bus = bus
        self._ledger = ledger
        self._subjects = Subjects(org.company)
        self._org = org
        self._inbox = inbox
        self._bounds = bounds
        self._agents = agents
        self._dead = DeadLetters(bus, self._subjects)
        self._clock = ServerClock(bus, INBOX, bus.identity.name)
        self._signals = signals
        self.duplicates = 0

    async def handle(self, delivery: Delivery) -> None:
        """Keep one message. What is malformed, or not for us, is a dead letter with the reason, and terminated.

        So is what has expired, but for a result: whoever waits for it gets it however late it comes.
        """
        try:
            envelope = await self._bus.verifier.envelope(self._subjects, delivery)
            to = self._subjects.addressed(delivery.subject)
            if to not in self._agents or envelope.to != to:
                raise WireError(f"addressed to {envelope.to!r}, arrived for {to!r}")
            known = self._ledger.mail.known(envelope.id, to)  # its lease ran out, or its ack was lost
            if known is None and envelope.type != "result" and await self._clock.has_passed(envelope.expires_at):
                raise WireError("it had expired")
        except WireError as error:
            await self._dead.refuse(delivery, self._subjects.addressed(delivery.subject), error)
            return
        if known is None and (wait_s := self._bounds.wait_s(envelope, to)):
            await self._bus.nak(delivery.ack_subject, wait_s)
            return
        asks = "never" if known is not None else await self._asks(envelope, to)  # of a known one nothing is changed
        with self._ledger.together():
            mail = self._ledger.mail.add(envelope, to, delivery.stream_seq, delivery.ack_subject, asks=asks)
            is_result = mail.state not in _DONE and record_result(
                self._ledger, mail.agent, envelope, self._org.may_take
            )
            if is_result:
                self._ledger.mail.mark(mail, "bound")
        self._bus.verifier.count_copy(delivery, mail.seq)
        await self._go_on(mail, is_result)

    async def _asks(self, envelope: Envelope, to: str) -> Asks:
        if envelope.type == "message" and self._ledger.raised.awaited(envelope.task_id or "", to):
            return "now"  # however often it was passed on: a task waits for it
        return await self._bounds.asks(envelope, to, wakes(envelope, "dm", self._org, to))

    async def _go_on(self, mail: Mail, is_result: bool) -> None:
        if is_result:
            self._signals.result(mail.envelope.task_id or "")
        elif mail.state in _DONE:  # the ack was lost
            await self._bus.ack(mail.ack_subject)
        elif self._is_settled(mail):
            self.duplicates += 1
            await self._inbox.acknowledge(mail)
        else:
            self._signals.mail()

    def _is_settled(self, mail: Mail) -> bool:
        """True if it brings a result that its session has had already."""
        sent = self._ledger.sent.get(mail.envelope.task_id or "") if mail.envelope.type == "result" else None
        return sent is not None and sent.task.sender == mail.agent and sent.announce in ("announced", "answered")

    async def recover(self) -> None:
        """At the start: acknowledge the results that a crash has kept from it after their announce."""
        for mail in self._ledger.mail.held():
            if self._is_settled(mail):
                await self._inbox.acknowledge(mail)
