"""Taking work: one task for one free slot, the highest priority first.

JetStream does not order by priority, and pulling many to sort them would hold leases of waiting work. So each
priority has a durable of its own, for the gateway's agents and for each group (team or pool) that has a member here.
A sweep asks one after the other for one message without waiting, from the top (every eighth sweep from the bottom, so
that low is not starved, nor a group by its members' own tasks). When there is nothing, one request per durable waits at
the server; while it does, a sweep need not ask that durable: a message there would have come. A task that arrives when
no slot wants it is given back at once: nothing waits under a lease, and no member of a group holds what another could
do.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from nats.aio.msg import Msg

from clawbus.bus.bus import Bus
from clawbus.bus.consumer import HEARTBEAT_S, ask, delivery_of, patient, status_of
from clawbus.bus.durables import group_durable, task_durable
from clawbus.bus.messages import Delivery
from clawbus.bus.server_clock import ServerClock
from clawbus.errors import BusAway
from clawbus.wire.channels import TASKS
from clawbus.wire.subjects import PRIORITIES

log = logging.getLogger(__name__)
_SWEEP_S = 2.0
_SWEEP = "sweep"


class TaskConsumer:
    """The tasks of one gateway and of its groups. Use as a context manager; `take` only with a free slot in hand."""

    def __init__(self, bus: Bus, gateway: str, groups: Sequence[str] = ()) -> None:
        self._bus = bus
        self.clock = ServerClock(bus, TASKS, task_durable(gateway, PRIORITIES[0]))
        self._own = {p: task_durable(gateway, p) for p in PRIORITIES}
        self._shared = {p: [group_durable(group, p) for group in groups] for p in PRIORITIES}
        self._parked: dict[str, float] = {}  # durable -> when its waiting request is past hope (monotonic s)
        self._arrived: dict[str, Delivery] = {}
        self._swept: asyncio.Queue[Msg] = asyncio.Queue()
        self._wake = asyncio.Event()
        self._wanted = False
        self._deaf = True
        self._count = itertools.count(1)
        self._giving_back: set[asyncio.Task[None]] = set()
        self._stops: list[Callable[[], Any]] = []

    async def __aenter__(self) -> TaskConsumer:
        await self._listen()
        self._bus.on_reconnect.append(self._forget_requests)
        return self

    async def _listen(self) -> None:
        """Where the answers to pull requests come: with each connection anew, as the requests are (`Link.listen`)."""
        inbox = self._bus.new_inbox()
        listened = [(f"{inbox}.{durable}", self._parked_answer(durable)) for durable in self._order(1)]
        listened.append((f"{inbox}.{_SWEEP}", self._sweep_answered))
        self._stops = [await self._bus.listen(subject, answer, lasting=False) for subject, answer in listened]
        self._inbox, self._deaf = inbox, False

    async def __aexit__(self, *_: object) -> None:
        self._bus.on_reconnect.remove(self._forget_requests)
        for delivery in self._arrived.values():
            self._give_back(delivery)
        await asyncio.gather(*self._giving_back, return_exceptions=True)
        for stop in self._stops:
            await stop()

    async def next_task(self) -> Delivery:
        """Wait for the next task: of those that wait now, one of the highest priority."""
        self._wanted = True
        try:
            while True:
                try:
                    if self._deaf:
                        await self._listen()
                    if (found := await self._sweep()) is not None:
                        return found
                    await self._park()
                except BusAway:
                    await asyncio.sleep(0.25)
        finally:
            self._wanted = False
            for delivery in self._arrived.values():
                self._give_back(delivery)
            self._arrived.clear()
            while not self._swept.empty():
                self._sweep_answered(self._swept.get_nowait())

    def _sweep_answered(self, message: Msg) -> None:
        """A task that nobody waits for any more goes back at once: held on to, it would be run after its lease."""
        if self._wanted:
            self._swept.put_nowait(message)
        elif status_of(message) is None:
            self._give_back(delivery_of(message))

    async def _sweep(self) -> Delivery | None:
        while not self._swept.empty():  # answers to a sweep that had given up: a task among them is a task
            late = self._swept.get_nowait()
            if status_of(late) is None:
                return delivery_of(late)
        for durable in self._order(next(self._count)):
            if durable in self._arrived:
                return self._arrived.pop(durable)
            if self._parked.get(durable, 0.0) > time.monotonic():
                continue
            await ask(self._bus, TASKS, durable, f"{self._inbox}.{_SWEEP}", {"batch": 1, "no_wait": True})
            message = await self._sweep_answer()
            if message is not None and status_of(message) is None:
                return delivery_of(message)
        return None

    def _order(self, number: int) -> Iterator[str]:
        """All durables, by priority; within one the gateway's own first, then the groups, each in its turn."""
        last_first = number % 8 == 0
        for priority in reversed(PRIORITIES) if last_first else PRIORITIES:
            shared = self._shared[priority]
            turn = number % len(shared) if shared else 0
            order = [self._own[priority], *shared[turn:], *shared[:turn]]
            yield from reversed(order) if last_first else order

    async def _sweep_answer(self) -> Msg | None:
        try:
            async with asyncio.timeout(_SWEEP_S):
                return await self._swept.get()
        except TimeoutError:
            raise BusAway("no answer to a pull request", "") from None

    async def _park(self) -> None:
        """Leave one waiting request per durable at the server, and return when something has happened."""
        self._wake.clear()
        now = time.monotonic()
        for durable in self._order(1):
            if self._parked.get(durable, 0.0) <= now:
                await ask(self._bus, TASKS, durable, f"{self._inbox}.{durable}", patient(1))
                self._parked[durable] = now + 2 * HEARTBEAT_S + 1
        if self._arrived:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(self._parked.values()) - time.monotonic() + 0.05):
                await self._wake.wait()

    def _parked_answer(self, durable: str) -> Callable[[Msg], None]:
        def on_message(message: Msg) -> None:
            status = status_of(message)
            if status == "100":
                self._parked[durable] = time.monotonic() + 2 * HEARTBEAT_S + 1
                return
            if status not in (None, "404", "408"):  # no such consumer or server: ask again, but not in a hot loop
                self._parked[durable] = time.monotonic() + 1.0
                return
            self._parked.pop(durable, None)
            if status is None:
                delivery = delivery_of(message)
                if self._wanted and durable not in self._arrived:
                    self._arrived[durable] = delivery
                else:
                    self._give_back(delivery)
            self._wake.set()

        return on_message

    def _forget_requests(self) -> None:
        self._deaf = True
        self._parked.clear()
        self._wake.set()

    def _give_back(self, delivery: Delivery) -> None:
        async def nak() -> None:
            with contextlib.suppress(BusAway):
                await self._bus.nak(delivery.ack_subject)

        task = asyncio.get_running_loop().create_task(nak())
        self._giving_back.add(task)
        task.add_done_callback(self._giving_back.discard)
