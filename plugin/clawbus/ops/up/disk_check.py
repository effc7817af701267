"""Before the company's own server starts: whether its disk has room for it, and what its streams may come to need."""

from __future__ import annotations

from pathlib import Path

from clawbus.client.company import Company
from clawbus.disk import FULL_BYTES, free_bytes, in_words
from clawbus.errors import Missing
from clawbus.ops.up.services import Say

_FIRST_BYTES = 32 * 1024 * 1024
"""An empty company takes some 2 MiB; with less than this it would stand still within a day."""
_SMALLER = "Less is enough for a small company: write smaller sizes under [streams] in org.toml (docs/cli.md)."


def refuse_without_room(company: Company) -> None:
    """Before anything is started or written. Raises Missing with the figures if there is too little to start at all."""
    root = company.home.root
    least = _FIRST_BYTES if company.store is not None and not _store(company).exists() else FULL_BYTES
    if (free := free_bytes(root)) is not None and free < least:
        raise Missing(
            f"the disk of {root} has {in_words(free)} free; clawbus needs {in_words(least)} to start",
            "Free space there, or move the company's folder to a larger disk.",
        )


def say_room(company: Company, say: Say) -> None:
    """The first time all of it; later only where less is free than the streams may still take."""
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
    """Where nats-server keeps the streams; there is none before the first start."""
    return company.home.root / "nats" / "jetstream"
