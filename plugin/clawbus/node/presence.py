"""Saying that an agent is there: every few seconds, on every change, and when somebody asks. No model is involved."""

from __future__ import annotations

import asyncio
import contextlib

from clawbus import __version__
from clawbus.bus import Bus, Message
from clawbus.errors import BusAway
from clawbus.gateway import GatewayRpc
from clawbus.subjects import Subjects
from clawbus.tools.roster import PERIOD_S, Roster, presence
from clawbus.worker import Worker


class Presence:
    """Speaks for the agents of one gateway, and listens to all others."""

    def __init__(
        self,
        bus: Bus,
        rpc: GatewayRpc,
        worker: Worker,
        roster: Roster,
        subjects: Subjects,
        gateway: str,
        agents: frozenset[str],
    ) -> None:
        self._bus = bus
        self._rpc = rpc
        self._worker = worker
        self._roster = roster
        self._subjects = subjects
        self._gateway = gateway
        self._agents = agents
        self._speak = asyncio.Event()
        self._speak.set()
        rpc.on_change.append(lambda _: self._speak.set())
        bus.on_reconnect.append(self._speak.set)

    async def run(self) -> None:
        """Until cancelled."""
        stop = await self._bus.listen(self._subjects.everything("presence"), self._hear)
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._speak.wait(), PERIOD_S)
                self._speak.clear()
                with contextlib.suppress(BusAway):
                    await self._say()
        finally:
            await stop()

    async def _say(self) -> None:
        said = presence(self._gateway, self._rpc.ready.is_set(), self._worker.busy, __version__)
        for agent in self._agents:
            await self._bus.tell(self._subjects.presence(agent), said)

    def _hear(self, message: Message) -> None:
        if self._roster.hear(message.subject, message.data):
            self._speak.set()
