"""Saying that an agent is there: every few seconds, on every change, and when somebody asks. No model is involved."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from clawbus import __version__
from clawbus.bus import Bus, Message
from clawbus.errors import BusAway
from clawbus.node.worker import Availability
from clawbus.org import Org
from clawbus.retry import pause
from clawbus.tasks.halt import Halt
from clawbus.tasks.roster import PERIOD_S, Roster, presence
from clawbus.wire.subjects import Subjects


class Heartbeat:
    """Speaks for the agents of one gateway, and listens to all others.

    `availability`: says if they can do tasks; `load` counts each one's tasks. `unwell` says why the turns of an agent
    fail before a model is asked; None of one that is well.
    """

    def __init__(
        self,
        bus: Bus,
        availability: Availability,
        load: Callable[[], dict[str, int]],
        unwell: Callable[[str], dict[str, Any] | None],
        halt: Halt,
        roster: Roster,
        org: Org,
        gateway: str,
    ) -> None:
        self._bus = bus
        self._ready = availability.ready
        self._load = load
        self._roster = roster
        self._org = org
        self._subjects = Subjects(org.company)
        self._agents = org.agents_of(gateway)
        self._unwell = unwell
        self._halt = halt
        self._speak = asyncio.Event()
        self._speak.set()
        availability.on_change.append(lambda _ready: self.speak())
        halt.on_change.append(self.speak)
        bus.on_reconnect.append(self._speak.set)

    def speak(self) -> None:
        """Something has changed: say so at once."""
        self._speak.set()

    async def run(self) -> None:
        """Until cancelled."""
        stops = [await self._bus.listen(self._subjects.everything(name), self._hear) for name in ("presence", "roll")]
        try:
            while True:
                await pause(self._speak, PERIOD_S)
                self._speak.clear()
                with contextlib.suppress(BusAway):
                    await self._say()
        finally:
            for stop in stops:
                await stop()

    async def _say(self) -> None:
        ready, load = self._ready.is_set(), self._load()
        for agent in self._agents:
            busy, unwell = load.get(agent.id, 0), self._unwell(agent.id)
            said = presence(self._org, agent, ready, busy, __version__, self._halt.word(agent.id), unwell)
            await self._bus.tell(self._subjects.presence(agent.id), said)

    def _hear(self, message: Message) -> None:
        if self._roster.on_presence(message):
            self._speak.set()
            self._halt.look()  # who has given an order calls the roll
