"""Before the company's own server starts: whether its disk has room for it, and what its streams may come to need."""

from __future__ import annotations

from clawbus.company import Company
from clawbus.disk import FULL_BYTES, free_bytes, in_words
from clawbus.errors import Missing
from clawbus.running.services import Say

_FIRST_BYTES = 32 * 1024 * 1024
"""An empty company takes some 2 MiB; with less than this it would stand still within a day."""
_SMALLER = "Less is enough for a small company: write smaller sizes under [streams] in org.toml (docs/cli.md)."


def say_room(company: Company, say: Say) -> None:
    """The first time all of it; later only where less is free than the streams may still take.

    Raises Missing if there is too little to start at all.
    """
    root, may = company.home.root, company.org.streams.all_bytes
    store = root / "nats" / "jetstream"
    is_first = not store.exists()
    free = free_bytes(root)
    if free is None:
        return
    if free < (least := _FIRST_BYTES if is_first else FULL_BYTES):
        raise Missing(
            f"the disk of {root} has {in_words(free)} free; clawbus needs {in_words(least)} to start",
            "Free space there, or move the company's folder to a larger disk.",
        )
    taken = sum(file.stat().st_size for file in store.rglob("*.blk")) if store.exists() else 0
    left = max(0, may - taken)
    if is_first:
        say(f"the streams take room as they fill, up to {in_words(may)} under {root}, where {in_words(free)} are free")
    if free < left:
        say(f"{in_words(free)} are free there, and the streams may take {in_words(left)} more. {_SMALLER}")
