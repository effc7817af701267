"""Rights that a change of org.toml has just taken from keys: the holder of one needs a moment to hear of it.

Until then a node may speak for an agent that has left, and the server refuses it. That is no break-in: a moment ago it
was its own. What it tries of anything else, or later, is.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clawbus.org import Org
from clawbus.provision.permissions import GATEWAY, PERSON, Grant, allowed
from clawbus.provision.server_log import PUBLISH, Refusal
from clawbus.settings import Home, write_secret

HEARD_WITHIN_S = 120.0
"""By then `clawbus apply` has restarted whoever goes by the old org.toml."""


def remember(home: Home, key_name: str, tags: Iterable[str]) -> None:
    """Keep the tags (`agent:cto`) that the credentials of a key had until now."""
    known = {name: one for name, one in _read(home).items() if _is_fresh(one)}
    known[key_name] = {"at": time.time(), "tags": sorted(tags)}
    write_secret(_file(home), json.dumps(known))


def was_its_own(home: Home, org: Org, refusal: Refusal) -> bool:
    """True if a key might have said (or heard) until a moment ago what it was refused."""
    key_name, found = refusal.key, _read(home).get(refusal.key)
    if found is None or not _is_fresh(found):
        return False
    tags: dict[str, list[str]] = {}
    for tag, _, value in (str(text).partition(":") for text in found["tags"]):
        tags.setdefault(tag, []).append(value)
    role = GATEWAY if key_name.startswith("gw-") else PERSON
    may = allowed(org, Grant(key_name, role, {tag: tuple(values) for tag, values in tags.items()}))
    patterns = may.publish if refusal.what == PUBLISH else may.subscribe
    return any(_matches(pattern, refusal.subject) for pattern in patterns)


def _matches(pattern: str, subject: str) -> bool:
    """By NATS' rules: `*` is one word, `>` all that follow."""
    words = (r"[^.]+" if word == "*" else r".+" if word == ">" else re.escape(word) for word in pattern.split("."))
    return re.fullmatch(r"\.".join(words), subject) is not None


def _is_fresh(one: object) -> bool:
    return isinstance(one, dict) and 0 <= time.time() - float(one.get("at", 0)) < HEARD_WITHIN_S


def _read(home: Home) -> dict[str, dict[str, Any]]:
    try:
        known = json.loads(_file(home).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _file(home: Home) -> Path:
    return home.dir("run") / "taken.json"
