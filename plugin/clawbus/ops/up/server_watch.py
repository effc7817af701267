"""Seeing to it that the company's own server keeps what is said: a full disk is told of, and mended once there is room.

A stream that could not be written once is shut until nats-server is started anew (`provision.health`). That is done as
soon as its disk takes writes again, and ever later if it does not help.
"""

from __future__ import annotations

import asyncio
import logging
import time

from clawbus.client.company import Company
from clawbus.disk import FULL_BYTES, free_bytes, why_unwritable
from clawbus.errors import ClawbusError
from clawbus.ops.supervisor import Supervisor
from clawbus.ops.up.services import SERVER, Say
from clawbus.provision.stream_health import FRESH_S, watching
from clawbus.retry import Backoff

log = logging.getLogger(__name__)
_LOOK_S = 2.0
_FIRST_S, _LONGEST_S = 10.0, 600.0
"""Between two restarts that follow each other."""


class ServerWatch:
    """Watches the server of a company that runs here. `say`: what people at the terminal hear."""

    def __init__(self, supervisor: Supervisor, company: Company, say: Say) -> None:
        self._supervisor = supervisor
        self._company = company
        self._say = say
        self._root, self._store = company.home.root, company.home.dir("nats")
        self._shut: list[str] = []
        self._is_full = False
        self._why = ""
        self._again_at, self._backoff = 0.0, Backoff(_FIRST_S, _LONGEST_S)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with watching(self._company.home, self._company.org) as look:
                    since = time.monotonic()
                    while time.monotonic() - since < FRESH_S:
                        self._look_at_disk()
                        await self._take(await look())
                        await asyncio.sleep(_LOOK_S)
            except (ClawbusError, OSError) as error:  # the server is being started, or its credentials have ended
                log.debug("the server's health is not known: %s", error)
            self._look_at_disk()
            await asyncio.sleep(_LOOK_S)

    def _look_at_disk(self) -> None:
        free = free_bytes(self._root)
        if free is None or self._is_full == (free < FULL_BYTES * (1 + self._is_full)):
            return
        self._is_full = not self._is_full
        if self._is_full:
            self._say(f"the disk of {self._root} is full: nothing more is kept. Free space there: then it goes on")
        else:
            self._say(f"the disk of {self._root} has room again")

    async def _take(self, shut: list[str]) -> None:
        """What the server says of its streams now."""
        if set(shut) - set(self._shut):
            self._say(f"nats-server could not write {', '.join(shut)}: what is said there is not kept")
        if self._shut and not shut:
            self._say(f"nats-server keeps what is said again, in {', '.join(self._shut)}, too")
        self._shut = shut
        if not shut:
            self._why = ""
            if time.monotonic() > self._again_at + _LONGEST_S:
                self._backoff.reset()
            return
        why = await asyncio.to_thread(why_unwritable, self._store)
        if why and why != self._why and not self._is_full:
            self._say(f"nothing can be written in {self._store}: {why}. It is tried again every {_LOOK_S:g} s")
        self._why = why
        if not why and time.monotonic() >= self._again_at:
            self._again_at = time.monotonic() + self._backoff.next_s()
            await self._supervisor.restart(SERVER)
