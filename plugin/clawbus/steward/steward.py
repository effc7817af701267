"""The process `clawbus steward`: it hands each message of the streams to the duties, and calls their `tick`."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from clawbus.bus import STEWARD_READER, Bus, Consumer, Delivery
from clawbus.errors import Away, ClawbusError, Halted, InvalidInput, Unverified, WireError
from clawbus.org import Org
from clawbus.retry import retry
from clawbus.steward.context import Context
from clawbus.steward.duties import DUTIES
from clawbus.steward.duty import Duty
from clawbus.tasks.guests import guest_subjects
from clawbus.tasks.halt import Halt
from clawbus.wire.channels import BCAST, CTL, DEAD, ENDS, EVENTS, GUEST, INBOX, LEARN, TIMERS
from clawbus.wire.envelope import Envelope
from clawbus.wire.strict_json import read_object

log = logging.getLogger(__name__)
Call = Callable[[Duty], Awaitable[None]]
Reading = Callable[[Delivery], Awaitable[Call]]
_AGAIN_S, _LONGEST_S = 5.0, 300.0
_LOOK_S = 0.5
_MOST_SEEN = 10_000
"""The events that a steward remembers, so that it knows a copy. A sender or a thief sends one again within minutes."""
# Six tries take 155 s, which is within the server's window for duplicates: what other duties do again happens once.
_TRIES = 6


class Steward:
    """Runs the duties of a company over one connection. Any number of stewards share the work."""

    def __init__(self, org: Org, bus: Bus, folder: Path = Path()) -> None:
        """`folder`: the folder of org.toml. The files that it names lie beside it."""
        self.context = Context(org, bus, folder)
        self.halt = self.context.halt = Halt(bus, org)
        self.duties = [duty(self.context) for duty in DUTIES]
        self._bus = bus
        self._seen: OrderedDict[tuple[str, str], int] = OrderedDict()  # subject and id of an event -> its sequence
        self._failed: dict[tuple[str, int], int] = {}  # subject and sequence -> tries of this steward
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
        if guest_subjects(org):
            self._handlers[GUEST] = self._guest

    async def run(self) -> None:
        """Run until cancelled."""
        await retry(self.halt.read, Away, _LOOK_S)
        for duty in self.duties:
            await retry(duty.on_start, Away, _LOOK_S)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.halt.run())
            for stream, handler in self._handlers.items():
                group.create_task(Consumer(self._bus, stream, STEWARD_READER, self._handling(handler)).run())
            for duty in self.duties:
                if duty.period_s is not None:
                    group.create_task(self._ticking(duty, duty.period_s))

    def _handling(self, read: Reading) -> Callable[[Delivery], Awaitable[None]]:
        async def handle(delivery: Delivery) -> None:
            try:
                call = await read(delivery)
            except WireError as error:
                log.warning("%s refused: %s", delivery.subject, error)
                if isinstance(error, Unverified):
                    await self._alarm(delivery.subject, error.message)
                await self._bus.term(delivery.ack_subject, str(error)[:200])
                return
            try:
                failures = await self._failures(call, delivery.subject)
            except Halted as halted:
                log.info("%s waits: %s", delivery.subject, halted.message)
                await self._bus.nak(delivery.ack_subject, _AGAIN_S)
                return
            await self._settle(delivery, failures)

        return handle

    async def _settle(self, delivery: Delivery, failures: list[Exception]) -> None:
        """Acknowledge a message, give it up, or have it delivered once more."""
        which = (delivery.subject, delivery.stream_seq)
        # The server's count of deliveries would not do: a message that waits while people have stopped the company is
        # delivered again, too.
        tries = self._failed.pop(which, 0) + 1
        if not failures:
            await self._bus.ack(delivery.ack_subject)
        elif tries >= _TRIES and all(_is_permanent(failure) for failure in failures):
            log.error("%s is given up after %d tries", delivery.subject, tries)
            await self._bus.term(delivery.ack_subject, repr(failures[0])[:200])
        else:
            self._failed[which] = tries
            await self._bus.nak(delivery.ack_subject, min(_AGAIN_S * 2 ** min(tries - 1, 9), _LONGEST_S))

    async def _failures(self, call: Call, subject: str) -> list[Exception]:
        """Hand a message to every duty. Returns the errors of those that failed. Raises Away and Halted."""
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

    async def _event(self, delivery: Delivery) -> Call:
        event = await self._bus.verifier.event(self.context.subjects, delivery)
        first = self._seen.setdefault((delivery.subject, event.id), delivery.stream_seq)
        if first != delivery.stream_seq:
            self._bus.verifier.count_copy(delivery, first)
            return lambda _duty: asyncio.sleep(0)
        if len(self._seen) > _MOST_SEEN:
            self._seen.popitem(last=False)
        return lambda duty: duty.on_event(event)

    async def _end(self, delivery: Delivery) -> Call:
        end, task_id = await self._envelope(delivery), self.context.subjects.parse(delivery.subject).task_id
        if end.task_id != task_id or "." in end.to:
            raise WireError(f"no end of task {task_id}: it names task {end.task_id}, and was asked for by {end.to}")
        return lambda duty: duty.on_end(end)

    async def _broadcast(self, delivery: Delivery) -> Call:
        broadcast, parsed = await self._envelope(delivery), self.context.subjects.parse(delivery.subject)
        return lambda duty: duty.on_broadcast(broadcast, parsed)

    async def _learning(self, delivery: Delivery) -> Call:
        message = await self._envelope(delivery)
        return lambda duty: duty.on_learning(message)

    async def _dead(self, delivery: Delivery) -> Call:
        await self._bus.verifier.check(delivery)
        task_id, letter = self.context.subjects.parse(delivery.subject).task_id or "", _object(delivery.data)
        return lambda duty: duty.on_dead(task_id, letter)

    async def _mail(self, delivery: Delivery) -> Call:
        mail = await self._envelope(delivery)
        return lambda duty: duty.on_mail(mail)

    async def _control(self, delivery: Delivery) -> Call:
        note = await self._envelope(delivery)
        return lambda duty: duty.on_control(note)

    async def _guest(self, delivery: Delivery) -> Call:
        return lambda duty: duty.on_guest(delivery.subject, delivery.data, delivery.stream_seq)

    async def _timer(self, delivery: Delivery) -> Call:
        tokens, body = self.context.subjects.parse(delivery.subject).tokens, _object(delivery.data)

        async def call(duty: Duty) -> None:
            if tokens["rule"] == duty.rule:
                await duty.on_timer(tokens["key"], body)

        return call

    async def _envelope(self, delivery: Delivery) -> Envelope:
        return await self._bus.verifier.envelope(self.context.subjects, delivery)

    async def _alarm(self, subject: str, reason: str) -> None:
        for duty in self.duties:
            await duty.on_forged(subject, reason)


def _is_permanent(error: Exception) -> bool:
    """True if the message itself is the cause, so that another try is in vain."""
    # The bus may take tomorrow what it refuses today, such as for want of room, or for a full queue.
    return not isinstance(error, ClawbusError) or isinstance(error, InvalidInput | WireError)


def _object(data: bytes) -> dict[str, Any]:
    """The JSON object of a message; an empty one for no data. Raises WireError for anything else."""
    return read_object(data or b"{}")
