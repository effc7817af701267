"""One steward: hands each message of the streams to the duties, and lets them look around at their intervals."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from clawbus.bus import STEWARD_READER, Bus, Delivery, Pull
from clawbus.channels import BCAST, CTL, DEAD, ENDS, EVENTS, GUEST, INBOX, LEARN, TIMERS
from clawbus.dialects import heard
from clawbus.envelope import Envelope, decode
from clawbus.errors import Away, ClawbusError, InvalidInput, WireError
from clawbus.events import decode_event
from clawbus.org import Org
from clawbus.steward.desk import Desk
from clawbus.steward.duties import DUTIES
from clawbus.steward.duty import Duty

log = logging.getLogger(__name__)
Call = Callable[[Duty], Awaitable[None]]
Reading = Callable[[Delivery], Call]
_AGAIN_S, _LONGEST_S = 5.0, 300.0
_TRIES = 6  # within 155 s: within the server's window for duplicates, so that what the others do again happens once


class Steward:
    """Runs the duties of a company over one connection. Any number of them share the work."""

    def __init__(self, org: Org, bus: Bus, folder: Path = Path()) -> None:
        """`folder`: where the org file lies; the files that it names lie beside it."""
        self.desk = Desk(org, bus, folder)
        self.duties = [duty(self.desk) for duty in DUTIES]
        self._bus = bus
        self._handlers: dict[str, Reading] = {
            EVENTS: self._event,
            ENDS: self._end,
            BCAST: self._broadcast,
            LEARN: self._learning,
            DEAD: self._dead,
            INBOX: self._mail,
            CTL: self._control,
            TIMERS: self._timer,
        }
        if heard(org):
            self._handlers[GUEST] = self._guest

    async def run(self) -> None:
        """Until cancelled."""
        for duty in self.duties:
            await _patiently(duty.on_start)
        async with asyncio.TaskGroup() as group:
            for stream, handler in self._handlers.items():
                group.create_task(Pull(self._bus, stream, STEWARD_READER, self._handling(handler)).run())
            for duty in self.duties:
                if duty.period_s is not None:
                    group.create_task(self._ticking(duty, duty.period_s))

    def _handling(self, read: Reading) -> Callable[[Delivery], Awaitable[None]]:
        async def handle(delivery: Delivery) -> None:
            try:
                call = read(delivery)
            except WireError as error:
                log.warning("%s refused: %s", delivery.subject, error)
                await self._bus.term(delivery.ack_subject, str(error)[:200])
                return
            failures = await self._failures(call, delivery.subject)
            if not failures:
                await self._bus.ack(delivery.ack_subject)
            elif delivery.delivered >= _TRIES and all(_lies_in_the_message(one) for one in failures):
                log.error("%s is given up after %d tries", delivery.subject, delivery.delivered)
                await self._bus.term(delivery.ack_subject, repr(failures[0])[:200])
            else:
                await self._bus.nak(
                    delivery.ack_subject, min(_AGAIN_S * 2 ** min(delivery.delivered - 1, 9), _LONGEST_S)
                )

        return handle

    async def _failures(self, call: Call, subject: str) -> list[Exception]:
        """Hand a message to every duty. If one fails it comes again, and the others do nothing twice."""
        failures: list[Exception] = []
        for duty in self.duties:
            try:
                await call(duty)
            except Away:
                raise
            except Exception as error:
                log.exception("the duty %s failed on %s", duty.rule, subject)
                failures.append(error)
        return failures

    async def _ticking(self, duty: Duty, period_s: float) -> None:
        while True:
            try:
                await duty.tick()
            except Away as away:
                log.info("%s waits: %s", duty.rule, away.message)
            except Exception:
                log.exception("the duty %s failed; it looks again in %g s", duty.rule, period_s)
            await asyncio.sleep(period_s)

    def _event(self, delivery: Delivery) -> Call:
        event = decode_event(delivery.data, self.desk.subjects.parse(delivery.subject))
        return lambda duty: duty.on_event(event)

    def _end(self, delivery: Delivery) -> Call:
        end, task_id = self._envelope(delivery), self.desk.subjects.parse(delivery.subject).task_id
        if end.task_id != task_id or "." in end.to:
            raise WireError(f"no end of task {task_id}: it names task {end.task_id}, and was asked for by {end.to}")
        return lambda duty: duty.on_end(end)

    def _broadcast(self, delivery: Delivery) -> Call:
        said, parsed = self._envelope(delivery), self.desk.subjects.parse(delivery.subject)
        return lambda duty: duty.on_broadcast(said, parsed)

    def _learning(self, delivery: Delivery) -> Call:
        said = self._envelope(delivery)
        return lambda duty: duty.on_learning(said)

    def _dead(self, delivery: Delivery) -> Call:
        task_id, letter = self.desk.subjects.parse(delivery.subject).task_id or "", _object(delivery.data)
        return lambda duty: duty.on_dead(task_id, letter)

    def _mail(self, delivery: Delivery) -> Call:
        mail = self._envelope(delivery)
        return lambda duty: duty.on_mail(mail)

    def _control(self, delivery: Delivery) -> Call:
        note = self._envelope(delivery)
        return lambda duty: duty.on_control(note)

    def _guest(self, delivery: Delivery) -> Call:
        return lambda duty: duty.on_guest(delivery.subject, delivery.data, delivery.stream_seq)

    def _timer(self, delivery: Delivery) -> Call:
        tokens, body = self.desk.subjects.parse(delivery.subject).tokens, _object(delivery.data)

        async def call(duty: Duty) -> None:
            if tokens["rule"] == duty.rule:
                await duty.on_timer(tokens["key"], body)

        return call

    def _envelope(self, delivery: Delivery) -> Envelope:
        return decode(delivery.data, self.desk.subjects.parse(delivery.subject).sender)


def _lies_in_the_message(error: Exception) -> bool:
    """Whether trying again is for nothing: what the bus refuses today (no room, a full queue) it may take tomorrow."""
    return not isinstance(error, ClawbusError) or isinstance(error, InvalidInput | WireError)


def _object(data: bytes) -> dict[str, Any]:
    """A JSON object. Raises WireError for anything else."""
    try:
        found = json.loads(data or b"{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise WireError("not a JSON object")
    return found


async def _patiently(start: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            return await start()
        except Away:
            await asyncio.sleep(0.5)
