"""Saying that an agent is there: every few seconds, on every change, and when somebody asks. No model is involved."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from clawbus.bus import Bus, Message
from clawbus.errors import BusAway
from clawbus.org import Org
from clawbus.retry import pause
from clawbus.tasks.roster import PERIOD_S, Roster, presence
from clawbus.version import __version__
from clawbus.wire.subjects import Subjects


class Heartbeat:
    """Speaks for the agents of one gateway, and listens to all others.

    `ready` is set while they can do tasks, `on_change` calls back when that changes; `load` counts each one's tasks.
    """

    def __init__(
        self,
        bus: Bus,
        ready: asyncio.Event,
        on_change: list[Callable[[bool], None]],
        load: Callable[[], dict[str, int]],
        roster: Roster,
        org: Org,
        gateway: str,
    ) -> None:
        self._bus = bus
        self._ready = ready
        self._load = load
        self._roster = roster
        self._org = org
        self._subjects = Subjects(org.company)
        self._agents = org.agents_of(gateway)
        self.word: Callable[[str], str] = lambda _agent: "running"
        """running, paused, stopped or unknown, of an agent; when that changes, call `speak`."""
        self.unwell: Callable[[str], dict[str, Any] | None] = lambda _agent: None
        """What there is to say of an agent whose turns fail before a model is asked; None of one that is well."""
        self.on_asked: Callable[[], None] = lambda: None
        """Called when the roll is called."""
        self._speak = asyncio.Event()
        self._speak.set()
        on_change.append(lambda _: self._speak.set())
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
            busy, unwell = load.get(agent.id, 0), self.unwell(agent.id)
            said = presence(self._org, agent, ready, busy, __version__, self.word(agent.id), unwell)
            await self._bus.tell(self._subjects.presence(agent.id), said)

    def _hear(self, message: Message) -> None:
        if self._roster.on_presence(message):
            self._speak.set()
            self.on_asked()
