"""Control messages: words for a task or a person, or the nudge to look whether a task has an end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from clawbus.bus import Bus, Delivery
from clawbus.errors import WireError
from clawbus.node.ledger import Ledger
from clawbus.node.worker.worker import Worker
from clawbus.org import Org
from clawbus.tasks import NOTIFY, STEER
from clawbus.tasks.dead_letters import DeadLetters
from clawbus.wire.envelope import Envelope
from clawbus.wire.subjects import Subjects

Steer = Callable[[Envelope, str], Awaitable[None]]
"""Called with what is to be said to a task, and the agent that has it."""
Notify = Callable[[Envelope, str], Awaitable[float]]
"""Called with what a person is to be told on a channel of the gateway. Returns in how many s again, or 0."""


class ControlHandler:
    """Handles deliveries of CTL. `notify` is None where there is no channel: a program tells nobody anything."""

    def __init__(self, bus: Bus, org: Org, ledger: Ledger, worker: Worker, steer: Steer, notify: Notify | None) -> None:
        self._bus = bus
        self._subjects = Subjects(org.company)
        self._dead = DeadLetters(bus, self._subjects)
        self._ledger = ledger
        self._worker = worker
        self._steer = steer
        self._notify = notify

    async def handle(self, delivery: Delivery) -> None:
        """Carry out one control message and acknowledge it. One that is malformed, or a steer too late, is dead."""
        to = self._subjects.addressed(delivery.subject)
        try:
            note = await self._bus.verifier.envelope(self._subjects, delivery)
            if (
                note.subject == STEER
                and not self._ledger.steers.knows(note.id)
                and await self._worker.has_passed(note.expires_at)
            ):
                raise WireError("it had expired")
        except WireError as error:
            await self._dead.refuse(delivery, to, error)
            return
        if note.subject == STEER:
            await self._steer(note, to)
        elif note.subject == NOTIFY:
            if self._notify is not None and (again_s := await self._notify(note, to)):
                await self._bus.nak(delivery.ack_subject, again_s)
                return
        else:
            await self._worker.look_at_end(note.task_id or "")
        await self._bus.ack(delivery.ack_subject)
