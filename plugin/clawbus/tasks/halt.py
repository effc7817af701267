"""What people have stopped, kept up to date in one process: asked for, not heard, so that none of it can be missed.

A node may not subscribe to others' words, and a message that was heard before a reconnect proves nothing after it. So
the stream is asked every second and a half, and at once when the roll is called; after each reconnect it is read anew.
What was read counts for four seconds; then it is unknown, and nothing begins until it is known again. Both together
keep a stop within five seconds.
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
    """The orders that stand. Ask `of` before anything begins; `run` keeps it true."""

    def __init__(self, bus: Bus, org: Org) -> None:
        self._bus = bus
        self._others = {agent.id for agent in org.agents} | RESERVED  # who has left gave his orders as a person
        self._subjects = Subjects(org.company)
        self._orders: dict[str, Order] = {}
        self._found: dict[str, Order] = {}  # up to `_seq`
        self._seq = 0
        self._read_at = float("-inf")
        self._life = 0
        self._look = asyncio.Event()
        self._news = asyncio.Event()
        self.on_change: list[Callable[[], None]] = []
        """Called when an order has come, and when what stands has become known or unknown."""

    # -- what stands ---------------------------------------------------------------------------------------------------

    def of(self, agent: str) -> Order | None:
        """What keeps an agent from beginning anything: the strictest order for it or for all; None if nothing does."""
        if time.monotonic() - self._read_at > _COUNTS_S:
            return _UNKNOWN
        standing = [self._orders[target] for target in (ALL, agent) if target in self._orders]
        strictest = max(standing, key=lambda order: _RANK[order.state], default=None)
        return strictest if strictest is not None and strictest.state != "running" else None

    def check(self, agent: str) -> None:
        """For whoever is about to begin a turn. Raises NotBegun if it may not: wait, and try again."""
        if (order := self.of(agent)) is not None:
            raise NotBegun(str(order), "It begins when a person resumes it.")

    def word(self, agent: str) -> str:
        """running, paused, stopped or unknown."""
        order = self.of(agent)
        return order.state if order is not None else "running"

    def is_stopped(self, agent: str) -> bool:
        """Whether what it does now has to end, too."""
        return self.word(agent) == "stopped"

    def barred(self, agents: Collection[str]) -> set[str]:
        """Those that may begin nothing."""
        return {agent for agent in agents if self.of(agent) is not None}

    def standing(self) -> list[Order]:
        """All orders that keep somebody from something, the newest last."""
        return sorted((one for one in self._orders.values() if one.state != "running"), key=lambda one: one.seq)

    # -- waiting -------------------------------------------------------------------------------------------------------

    async def news(self) -> None:
        """Wait until something has changed."""
        await self._news.wait()

    async def may_begin(self, agent: str) -> None:
        """Wait until an agent may begin something."""
        while self.of(agent) is not None:
            await self.news()

    async def until_stopped(self, agent: str) -> None:
        """Wait until what an agent does has to end."""
        while not self.is_stopped(agent):
            await self.news()

    # -- reading -------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Ask now: who has given an order calls the roll. Anybody may call it, and has the stream asked, no more."""
        self._look.set()

    async def run(self) -> None:
        """Until cancelled."""
        self._bus.on_reconnect.append(self._anew)
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
            self._bus.on_reconnect.remove(self._anew)

    async def read(self) -> None:
        """Take in what was ordered since the last look. Raises BusAway, Refused.

        A look that is cut off goes on where it was: many orders over a slow line take more than one. What it has found
        counts when one has come to the end.
        """
        life, began = self._life, time.monotonic()
        pattern = self._subjects.everything("state")
        while (stored := await self._bus.next_message(STATE, pattern, self._seq + 1)) is not None:
            order = await self._taken_in(stored)
            if life != self._life:  # connected again meanwhile: this was said by the server before
                return
            self._seq = stored.seq
            if order is not None:
                self._found[order.target] = order  # the newest of all people's counts
        if life != self._life:
            return
        changed = self._found != self._orders or time.monotonic() - self._read_at > _COUNTS_S
        self._orders, self._read_at = dict(self._found), began
        if changed:
            self._tell()

    async def _taken_in(self, stored: Stored) -> Order | None:
        """The one place where an order comes in: what it has to prove is proven here. None if it is not a person's.

        What is not signed as it must be counts as a stop, as what cannot be read does (`order_of`).
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

    def _anew(self) -> None:
        """Connected again: perhaps to another server, whose stream begins with other numbers."""
        self._life += 1
        self._found, self._seq, self._read_at = {}, 0, float("-inf")
        self._look.set()
        self._tell()

    def _tell(self) -> None:
        announcements, self._news = self._news, asyncio.Event()
        announcements.set()
        for callback in list(self.on_change):
            callback()
