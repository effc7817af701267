"""Sending, with a row in the ledger until the server has acknowledged it: nothing that was said is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from clawbus.bus import Bus
from clawbus.envelope import Envelope
from clawbus.errors import BusAway, ClawbusError
from clawbus.events import Event, Kind
from clawbus.ledger import Ledger, Outgoing
from clawbus.subjects import Subjects, new_message_id

log = logging.getLogger(__name__)
_RETRY_S = 0.5
_FIRST_TRY_S = 3.0


class Outbox:
    """Publishes at once where it can, and from the ledger until it is acknowledged where it cannot."""

    def __init__(self, bus: Bus, ledger: Ledger, subjects: Subjects) -> None:
        self._bus = bus
        self._rows = ledger.outbox
        self._subjects = subjects
        self._wake = asyncio.Event()
        self.on_refused: list[Callable[[Outgoing, ClawbusError], None]] = []
        """Called when the server refuses something that had waited for the bus."""

    def keep(self, subject: str, envelope: Envelope) -> Outgoing:
        """Put a row for it into the ledger; `send_kept` is the other half. For a caller who writes more with it."""
        out = Outgoing(envelope.id, subject, envelope.encode())
        self._rows.add(out)
        return out

    async def send(self, subject: str, envelope: Envelope) -> bool:
        """Publish an envelope. True: the server has it. False: the bus is away, it goes out when it is back.

        Raises BacklogFull or Refused if the server refuses it: then it is not kept.
        """
        return await self.send_kept(self.keep(subject, envelope))

    async def send_kept(self, out: Outgoing) -> bool:
        """As `send`, for what is in the ledger already."""
        try:
            if not self._bus.up:
                raise BusAway("the bus is away")
            await self._bus.publish(out.subject, out.data, msg_id=out.msg_id, timeout_s=_FIRST_TRY_S)
        except BusAway:
            self._wake.set()
            return False
        except ClawbusError:
            self._rows.remove(out.msg_id)
            raise
        self._rows.remove(out.msg_id)
        return True

    def later(self, subject: str, msg_id: str, data: bytes) -> None:
        """Publish soon, in order, without waiting for it."""
        self._rows.add(Outgoing(msg_id, subject, data))
        self._wake.set()

    def event(self, kind: Kind, task_id: str, sender: str, **detail: str | int | float | bool | None) -> None:
        """Say what happened to a task."""
        event = Event(id=new_message_id(sender), kind=kind, task_id=task_id, sender=sender, detail=detail)
        self.later(self._subjects.event(task_id, sender), event.id, event.encode())

    async def run(self) -> None:
        """Publish what waits, until cancelled."""
        self._bus.on_reconnect.append(self._wake.set)
        while True:
            waiting = self._rows.waiting()
            if not waiting:
                await self._wake.wait()
                self._wake.clear()
                continue
            done: list[str] = []
            try:
                for out in waiting:
                    await self._publish(out)
                    done.append(out.msg_id)
            except BusAway:
                await asyncio.sleep(_RETRY_S)
            finally:
                self._rows.remove(*done)

    async def _publish(self, out: Outgoing) -> None:
        """Publish one row. What the server refuses is done with, too: whom it concerns is told. Raises BusAway."""
        try:
            await self._bus.publish(out.subject, out.data, msg_id=out.msg_id)
        except BusAway:
            raise
        except ClawbusError as error:
            log.error("%s was refused: %s", out.subject, error)
            for callback in self.on_refused:
                callback(out, error)
