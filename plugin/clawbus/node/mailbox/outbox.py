"""Sending, with a row in the ledger until the server has acknowledged it: nothing that was said is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from typing import Protocol

from clawbus.bus import Bus
from clawbus.errors import BusAway, ClawbusError, DiskFull, Refused
from clawbus.node.ledger import Ledger, Outgoing
from clawbus.retry import retry
from clawbus.wire.envelope import Envelope
from clawbus.wire.events import Event, Kind, Value
from clawbus.wire.subjects import Subjects, new_message_id

log = logging.getLogger(__name__)
_RETRY_S = 0.5
_FIRST_TRY_S = 3.0
_LATER_S = 5.0
_NAMES = 3


class OutboxGate(Protocol):
    """Decides about all that goes out. It may send more through the `outbox` that asks."""

    async def before(self, out: Outgoing, outbox: Outbox) -> None:
        """Called before each try to publish. Raises Refused: then it is not sent; BusAway: then it waits."""

    def refused(self, out: Outgoing, error: ClawbusError, outbox: Outbox) -> None:
        """Called when it is not sent."""


class Outbox:
    """Publishes at once where it can, and from the ledger until it is acknowledged where it cannot.

    `gate`: None where no task goes out, since nothing is reserved then.
    """

    def __init__(self, bus: Bus, ledger: Ledger, subjects: Subjects, gate: OutboxGate | None) -> None:
        self._bus = bus
        self._ledger = ledger
        self._rows = ledger.outbox
        self._in_hand: set[str] = set()
        self._untried: set[str] = set()
        self._subjects = subjects
        self._wake = asyncio.Event()
        self.renamed = 0
        """So often the server knew an id that had never been sent: somebody else had used it."""
        self.away = BusAway.why
        """Why what was sent last waits here, in a clause."""
        self._gate = gate
        self.on_refused: list[Callable[[Outgoing, ClawbusError], None]] = []
        """Called when the server refuses something that had waited for the bus."""
        self.on_sent: list[Callable[[Outgoing], None]] = []
        """Called when the server has something; what it writes is one commit with the removal of the row."""

    def keep(self, subject: str, envelope: Envelope) -> Outgoing:
        """Put a row for it into the ledger; `send_kept` is the other half. For a caller who writes more with it."""
        return self._add(Outgoing(envelope.id, subject, envelope.encode()))

    def _add(self, out: Outgoing) -> Outgoing:
        self._rows.add(out)
        self._untried.add(out.msg_id)
        return out

    async def send(self, subject: str, envelope: Envelope) -> bool:
        """Publish an envelope. True: the server has it. False: the bus is away, it goes out when it is back.

        Raises BacklogFull or Refused if the server refuses it: then it is not kept.
        """
        return await self.send_kept(self.keep(subject, envelope))

    async def send_kept(self, out: Outgoing) -> bool:
        """As `send`, for what is in the ledger already."""
        self._in_hand.add(out.msg_id)
        try:
            if not self._bus.up:
                raise BusAway("the bus is away")
            sent = await self._pass(out, _FIRST_TRY_S)
        except BusAway as error:
            self.away = error.why
            return False
        except ClawbusError as error:
            self._give_up(out, error)
            raise
        finally:
            self._in_hand.discard(out.msg_id)
            self._wake.set()  # what is left goes out by itself, also when whoever said it was cancelled meanwhile
        with contextlib.suppress(DiskFull):  # its row stays: it is sent once more, and the server keeps it once
            self._sent([sent])
        return True

    def _sent(self, outs: list[Outgoing]) -> None:
        """The server has these."""
        with self._ledger.together():
            self._rows.remove(*(out.msg_id for out in outs))
            for out in outs:
                for callback in self.on_sent:
                    callback(out)

    def later(self, subject: str, msg_id: str, data: bytes) -> None:
        """Publish soon, in order, without waiting for it."""
        self._add(Outgoing(msg_id, subject, data))
        self._wake.set()

    def event(self, kind: Kind, task_id: str, sender: str, **detail: Value) -> None:
        """Say what happened to a task."""
        event = Event(id=new_message_id(sender), kind=kind, task_id=task_id, sender=sender, detail=detail)
        self.later(self._subjects.event(task_id, sender), event.id, event.encode())

    async def event_now(self, kind: Kind, task_id: str, sender: str, **detail: Value) -> bool:
        """As `event`, but the server has it when this returns True; False if the bus is away."""
        event = Event(id=new_message_id(sender), kind=kind, task_id=task_id, sender=sender, detail=detail)
        out = Outgoing(event.id, self._subjects.event(task_id, sender), event.encode())
        return await self.send_kept(self._add(out))

    async def run(self) -> None:
        """Publish what waits, until cancelled."""
        self._bus.on_reconnect.append(self._wake.set)
        while True:
            self._wake.clear()
            await retry(self.drain, BusAway, _RETRY_S)
            await self._wake.wait()

    async def drain(self) -> None:
        """Publish all that waits now, in order. Raises BusAway."""
        while waiting := [out for out in self._rows.waiting() if self._waits(out)]:
            done: list[Outgoing] = []
            try:
                for out in waiting:
                    if self._waits(out) and (sent := await self._publish(out)) is not None:
                        done.append(sent)  # noqa: PERF401 - those before one that raises are done
            finally:
                self._sent(done)

    def _waits(self, out: Outgoing) -> bool:
        """Not while whoever said it publishes it, nor when he was refused: then he was told that it was not sent."""
        return out.msg_id not in self._in_hand and self._rows.holds(out.msg_id)

    async def _publish(self, out: Outgoing) -> Outgoing | None:
        """Publish one row. Of what the server refuses whom it concerns is told: then it is None. Raises BusAway."""
        try:
            return await self._pass(out)
        except BusAway:
            raise
        except ClawbusError as error:
            log.error("%s was refused: %s", out.subject, error)
            self._give_up(out, error)
            for callback in self.on_refused:
                callback(out, error)
            return None

    async def _pass(self, out: Outgoing, timeout_s: float = _LATER_S) -> Outgoing:
        """Through the gate and onto the bus; returns it as it was stored. Raises BusAway or what refuses it.

        An id that the server knows at the first try was used by somebody else, so that this would vanish (the window
        for duplicates spans all senders): it goes out again under a new one.
        """
        if self._gate is not None:
            await self._gate.before(out, self)
        was = out.msg_id
        for _ in range(_NAMES):
            first = out.msg_id in self._untried
            self._untried.discard(out.msg_id)
            try:
                ack = await self._bus.publish(out.subject, out.data, msg_id=out.msg_id, timeout_s=timeout_s)
            finally:
                self._in_hand -= {out.msg_id} - {was}
            if not (ack.duplicate and first):
                return out
            log.error("somebody else has used the id %s; it is sent again under a new one", out.msg_id)
            out = self._rename(out)
        raise Refused(f"{out.subject}: {_NAMES} ids in a row had been used before", "Look at `clawbus alerts`.")

    def _rename(self, out: Outgoing) -> Outgoing:
        """The same message under a new id, in the ledger too."""
        new_id = new_message_id(out.subject.rpartition(".")[2])
        new = Outgoing(new_id, out.subject, json.dumps({**json.loads(out.data), "id": new_id}).encode())
        self._rows.rename(out.msg_id, new)
        self.renamed += 1
        self._untried.add(new_id)
        self._in_hand.add(new_id)
        return new

    def _give_up(self, out: Outgoing, error: ClawbusError) -> None:
        self._rows.remove(out.msg_id)
        self._untried.discard(out.msg_id)
        if self._gate is not None:
            self._gate.refused(out, error, self)
