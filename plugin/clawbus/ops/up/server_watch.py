"""The disk and the streams of the company's own nats-server: before it starts, and while it runs.

A stream that could not be written once stays closed until nats-server is restarted (`provision.stream_health`). The
watch restarts it as soon as the disk takes writes again, and ever later if that does not help.
"""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from clawbus.client.company import Company
from clawbus.disk import FULL_BYTES, free_bytes, in_words, why_unwritable
from clawbus.errors import ClawbusError, Missing
from clawbus.ops.supervisor import Supervisor
from clawbus.ops.up.services import SERVER, Say
from clawbus.provision.stream_health import FRESH_S, watching
from clawbus.retry import Backoff

log = logging.getLogger(__name__)
_LOOK_S = 2.0
_FIRST_S, _LONGEST_S = 10.0, 600.0
"""The first and the longest pause between two restarts in a row."""


class ServerWatch:
    """Watches the server of a company that runs here. `say`: prints a line for people at the terminal."""

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
        """Watch until cancelled."""
        while True:
            try:
                async with watching(self._company.home, self._company.org) as look:
                    since = time.monotonic()
                    while time.monotonic() - since < FRESH_S:
                        self._look_at_disk()
                        await self._on_closed(await look())
                        await asyncio.sleep(_LOOK_S)
            except (ClawbusError, OSError) as error:  # such as while the server starts, or its credentials have ended
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

    async def _on_closed(self, shut: list[str]) -> None:
        """Report the streams that are `shut` now, and restart the server if their folder can be written."""
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


_FIRST_BYTES = 32 * 1024 * 1024
"""An empty company takes about 2 MiB; with less than this it would come to a stop within a day."""
_SMALLER = "Less is enough for a small company: write smaller sizes under [streams] in org.toml (docs/cli.md)."


def refuse_without_room(company: Company) -> None:
    """Call it before anything is started or written. Raises Missing, with the figures, if the disk is too full."""
    root = company.home.root
    least = _FIRST_BYTES if company.store is not None and not _store(company).exists() else FULL_BYTES
    if (free := free_bytes(root)) is not None and free < least:
        raise Missing(
            f"the disk of {root} has {in_words(free)} free; clawbus needs {in_words(least)} to start",
            "Free space there, or move the company's folder to a larger disk.",
        )


def say_room(company: Company, say: Say) -> None:
    """Say at the first start how much the streams may take; later only if less is free than they may still take."""
    root, may, store = company.home.root, company.org.streams.all_bytes, _store(company)
    free = free_bytes(root)
    if free is None:
        return
    left = max(0, may - sum(file.stat().st_size for file in store.rglob("*.blk")))
    if not store.exists():
        say(f"the streams take room as they fill, up to {in_words(may)} under {root}, where {in_words(free)} are free")
    if free < left:
        say(f"only {in_words(free)} are free under {root}, and the streams may take {in_words(left)} more. {_SMALLER}")


def _store(company: Company) -> Path:
    """The folder in which nats-server keeps the streams. It does not exist before the first start."""
    return company.home.root / "nats" / "jetstream"
