"""The halt orders of people, kept up to date in one process. The stream is polled, so that no order can be missed.

A subscription would not do: a node may not subscribe to others' messages, and a message from before a reconnect proves
nothing after it. So the stream is read every 1.5 s, and at once when the roll is called; after each reconnect it is
read from the beginning. What was read counts for 4 s. After that it is unknown, and nothing begins until it is known
again. Together this keeps a stop within 5 s.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import replace

from clawbus.bus import Bus, Stored
from clawbus.errors import BusAway, ClawbusError, NotBegun, Unverified, WireError
from clawbus.org import Org
from clawbus.org.members import RESERVED
from clawbus.retry import pause
from clawbus.tasks.halt_orders import ALL, Order, order_of
from clawbus.wire.channels import STATE
from clawbus.wire.subjects import Subjects

log = logging.getLogger(__name__)
_EVERY_S = 1.5
_LEAST_S = 0.3
_ANSWER_S = 2.0
_COUNTS_S = 4.0
_AGAIN_S = 0.3
_UNKNOWN = Order(ALL, "unknown")
_RANK = {"unknown": 3, "stopped": 2, "paused": 1, "running": 0}


class Halt:
    """The orders that stand. Ask `of` before anything begins. `run` keeps them up to date."""

    def __init__(self, bus: Bus, org: Org) -> None:
        self._bus = bus
        # Not "everybody who is no person now": the order of a person who has left still stands.
        self._others = {agent.id for agent in org.agents} | RESERVED
        self._subjects = Subjects(org.company)
        self._orders: dict[str, Order] = {}
        self._found: dict[str, Order] = {}  # what was read up to `_seq`
        self._seq = 0
        self._read_at = float("-inf")
        self._life = 0
        self._look = asyncio.Event()
        self._news = asyncio.Event()
        self.on_change: list[Callable[[], None]] = []
        """Called when an order has come, and when the orders have become known or unknown."""

    # -- what stands ---------------------------------------------------------------------------------------------------

    def of(self, agent: str) -> Order | None:
        """The strictest order for an agent or for all that keeps it from beginning anything; None if none does."""
        if time.monotonic() - self._read_at > _COUNTS_S:
            return _UNKNOWN
        standing = [self._orders[target] for target in (ALL, agent) if target in self._orders]
        strictest = max(standing, key=lambda order: _RANK[order.state], default=None)
        return strictest if strictest is not None and strictest.state != "running" else None

    def check(self, agent: str) -> None:
        """Call it before a turn begins. Raises NotBegun if it may not begin; then wait, and try again."""
        if (order := self.of(agent)) is not None:
            raise NotBegun(str(order), "It begins when a person resumes it.")

    def word(self, agent: str) -> str:
        """The state of an agent: running, paused, stopped or unknown."""
        order = self.of(agent)
        return order.state if order is not None else "running"

    def is_stopped(self, agent: str) -> bool:
        """True if what the agent does now has to end, too."""
        return self.word(agent) == "stopped"

    def barred(self, agents: Collection[str]) -> set[str]:
        """Those of `agents` that may begin nothing."""
        return {agent for agent in agents if self.of(agent) is not None}

    def standing(self) -> list[Order]:
        """All orders that stop or pause somebody, the newest last."""
        halts = (order for order in self._orders.values() if order.state != "running")
        return sorted(halts, key=lambda order: order.seq)

    # -- waiting -------------------------------------------------------------------------------------------------------

    async def news(self) -> None:
        """Wait until something has changed."""
        await self._news.wait()

    async def may_begin(self, agent: str) -> None:
        """Wait until an agent may begin something."""
        while self.of(agent) is not None:
            await self.news()

    async def until_stopped(self, agent: str) -> None:
        """Wait until an agent is stopped, so that what it does has to end."""
        while not self.is_stopped(agent):
            await self.news()

    # -- reading -------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Read the stream now. Called when the roll is called, as a person does who has given an order."""
        # Anybody may call the roll. That only has the stream read sooner, and at most every _LEAST_S.
        self._look.set()

    async def run(self) -> None:
        """Read the orders until cancelled."""
        self._bus.on_reconnect.append(self._forget)
        try:
            while True:
                self._look.clear()
                pause_s, began = _EVERY_S, time.monotonic()
                try:
                    async with asyncio.timeout(_ANSWER_S):
                        await self.read()
                except (BusAway, TimeoutError):
                    pause_s = _AGAIN_S
                except ClawbusError as error:
                    log.error("nothing begins here, since it cannot be read what is stopped: %s", error)
                await pause(self._look, pause_s)
                await asyncio.sleep(max(0.0, began + _LEAST_S - time.monotonic()))
        finally:
            self._bus.on_reconnect.remove(self._forget)

    async def read(self) -> None:
        """Read the orders since the last read. Raises BusAway, Refused.

        If it is cancelled, the next call goes on at the same place, since many orders over a slow line take more than
        one. What was found counts when a call has come to the end of the stream.
        """
        life, began = self._life, time.monotonic()
        pattern = self._subjects.everything("state")
        while (stored := await self._bus.next_message(STATE, pattern, self._seq + 1)) is not None:
            order = await self._verified(stored)
            if life != self._life:  # connected again meanwhile: this answer is of the server before
                return
            self._seq = stored.seq
            if order is not None:
                self._found[order.target] = order  # the newest order of all people counts
        if life != self._life:
            return
        changed = self._found != self._orders or time.monotonic() - self._read_at > _COUNTS_S
        self._orders, self._read_at = dict(self._found), began
        if changed:
            self._notify()

    async def _verified(self, stored: Stored) -> Order | None:
        """The order of a stored message; None if it is not a person's.

        An order without its person's signature counts as a stop, as one does that cannot be read (`order_of`).
        """
        try:
            order = order_of(stored, self._subjects)
            if order.by in self._others:
                return None
            await self._bus.verifier.check(stored)
        except Unverified as error:
            log.error("order %d of %s: %s", stored.seq, order.by, error)
            return replace(order, state="stopped", why="this order is not signed by the person who is to have given it")
        except WireError as error:
            log.warning("order %d refused: %s", stored.seq, error)
            return None
        return order

    def _forget(self) -> None:
        # Connected again, perhaps to another server, whose stream has other sequences.
        self._life += 1
        self._found, self._seq, self._read_at = {}, 0, float("-inf")
        self._look.set()
        self._notify()

    def _notify(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()
        for callback in list(self.on_change):
            callback()
