"""Takes tasks from the bus: one for one free slot, the highest priority first.

JetStream does not order by priority, and to pull many tasks and sort them would hold leases of waiting work. So each
priority has a durable consumer of its own, for the gateway's agents and for each group (team or pool) with a member
here.

A sweep asks one durable after the other for one message, without waiting. If there is none, one request waits at the
server for each durable (it is parked).
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
from clawbus.retry import pause, retry
from clawbus.wire.channels import TASKS
from clawbus.wire.subjects import PRIORITIES

log = logging.getLogger(__name__)
_SWEEP_S = 2.0
_SWEEP = "sweep"
_AGAIN_S = 0.25
_BOTTOM_UP = 8
"""Each eighth sweep begins with the lowest priority, and with the groups."""


class TaskConsumer:
    """The tasks of one gateway and of its groups. Use as a context manager; call `next_task` only with a free slot."""

    def __init__(self, bus: Bus, gateway: str, groups: Sequence[str] = ()) -> None:
        self._bus = bus
        self.clock = ServerClock(bus, TASKS, task_durable(gateway, PRIORITIES[0]))
        self._own = {p: task_durable(gateway, p) for p in PRIORITIES}
        self._shared = {p: [group_durable(group, p) for group in groups] for p in PRIORITIES}
        self._parked: dict[str, float] = {}
        """By durable: the moment (monotonic, s) from which its parked request counts as lost."""
        self._arrived: dict[str, Delivery] = {}
        self._sweep_answers: asyncio.Queue[Msg] = asyncio.Queue()
        self._wake = asyncio.Event()
        self._wanted = False
        self._must_listen = True
        self._sweeps = itertools.count(1)
        self._giving_back: set[asyncio.Task[None]] = set()
        self._stops: list[Callable[[], Any]] = []

    async def __aenter__(self) -> TaskConsumer:
        await self._listen()
        self._bus.on_reconnect.append(self._forget_requests)
        return self

    async def _listen(self) -> None:
        """Subscribe to the answers of pull requests. Both end with their connection (`Connection.listen`)."""
        inbox = self._bus.new_inbox()
        listeners = [(f"{inbox}.{durable}", self._on_parked_answer(durable)) for durable in self._order(1)]
        listeners.append((f"{inbox}.{_SWEEP}", self._on_sweep_answer))
        self._stops = [await self._bus.listen(subject, listener, lasting=False) for subject, listener in listeners]
        self._inbox, self._must_listen = inbox, False

    async def __aexit__(self, *_: object) -> None:
        self._bus.on_reconnect.remove(self._forget_requests)
        for delivery in self._arrived.values():
            self._give_back(delivery)
        await asyncio.gather(*self._giving_back, return_exceptions=True)
        for stop in self._stops:
            await stop()

    async def next_task(self) -> Delivery:
        """Wait for the next task: one of the highest priority among those that wait now."""
        self._wanted = True
        try:
            while (delivery := await retry(self._sweep_or_park, BusAway, _AGAIN_S)) is None:
                continue
            return delivery
        finally:
            self._wanted = False
            for left in self._arrived.values():
                self._give_back(left)
            self._arrived.clear()
            while not self._sweep_answers.empty():
                self._on_sweep_answer(self._sweep_answers.get_nowait())

    async def _sweep_or_park(self) -> Delivery | None:
        """A task; or None after a wait, when it is time to sweep again. Raises BusAway."""
        if self._must_listen:
            await self._listen()
        if (delivery := await self._sweep()) is None:
            await self._park()
        return delivery

    def _on_sweep_answer(self, message: Msg) -> None:
        if self._wanted:
            self._sweep_answers.put_nowait(message)
        elif status_of(message) is None:
            # No slot waits for it. It goes back at once, so that no member of a group holds a task that another could
            # do; kept, it would also be run after its lease.
            self._give_back(delivery_of(message))

    async def _sweep(self) -> Delivery | None:
        while not self._sweep_answers.empty():  # of a sweep that had given up: a task among them counts
            late = self._sweep_answers.get_nowait()
            if status_of(late) is None:
                return delivery_of(late)
        for durable in self._order(next(self._sweeps)):
            if durable in self._arrived:
                return self._arrived.pop(durable)
            if self._parked.get(durable, 0.0) > time.monotonic():
                continue  # a message there would have answered the parked request
            await ask(self._bus, TASKS, durable, f"{self._inbox}.{_SWEEP}", {"batch": 1, "no_wait": True})
            message = await self._sweep_answer()
            if message is not None and status_of(message) is None:
                return delivery_of(message)
        return None

    def _order(self, number: int) -> Iterator[str]:
        """All durables, by priority: the gateway's own first, then the groups, which take turns."""
        # Else low priority would starve, and a group behind its members' own tasks.
        last_first = number % _BOTTOM_UP == 0
        for priority in reversed(PRIORITIES) if last_first else PRIORITIES:
            shared = self._shared[priority]
            turn = number % len(shared) if shared else 0
            order = [self._own[priority], *shared[turn:], *shared[:turn]]
            yield from reversed(order) if last_first else order

    async def _sweep_answer(self) -> Msg | None:
        try:
            async with asyncio.timeout(_SWEEP_S):
                return await self._sweep_answers.get()
        except TimeoutError:
            raise BusAway("no answer to a pull request", "") from None

    async def _park(self) -> None:
        """Leave one request for each durable at the server, and return when something has happened."""
        self._wake.clear()
        now = time.monotonic()
        for durable in self._order(1):
            if self._parked.get(durable, 0.0) <= now:
                await ask(self._bus, TASKS, durable, f"{self._inbox}.{durable}", patient(1))
                self._parked[durable] = now + 2 * HEARTBEAT_S + 1
        if self._arrived:
            return
        await pause(self._wake, min(self._parked.values()) - time.monotonic() + 0.05)

    def _on_parked_answer(self, durable: str) -> Callable[[Msg], None]:
        def on_message(message: Msg) -> None:
            status = status_of(message)
            if status == "100":
                self._parked[durable] = time.monotonic() + 2 * HEARTBEAT_S + 1
                return
            if status not in (None, "404", "408"):  # no such consumer or server: it is asked again in a second
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
        self._must_listen = True
        self._parked.clear()
        self._wake.set()

    def _give_back(self, delivery: Delivery) -> None:
        async def nak() -> None:
            with contextlib.suppress(BusAway):
                await self._bus.nak(delivery.ack_subject)

        task = asyncio.get_running_loop().create_task(nak())
        self._giving_back.add(task)
        task.add_done_callback(self._giving_back.discard)
