"""The roles that agents can have: those with a soul of their own in the folder `souls`."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable

from clawbus.settings import asset_folder


@functools.cache
def known_roles() -> tuple[str, ...]:
    """Such as `role-cto`; `role-default` is the neutral one. Raises Missing if the installation lacks its souls."""
    folders = (path for path in asset_folder("souls").iterdir() if path.is_dir() and path.name[0].isalpha())
    return tuple(sorted(f"role-{path.name}" for path in folders))


def nearest(written: str, there: Iterable[str]) -> str | None:
    """The role that somebody may have meant; what all begin with makes none alike."""
    words = {role.removeprefix("role-"): role for role in there}
    meant = "-".join(written.lower().split()).removeprefix("role").strip("-_")
    return next((words[word] for word in difflib.get_close_matches(meant, words, 1)), None)
