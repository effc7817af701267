"""From which session another was spawned: sub-agents, and what `sessions_spawn` makes visible or hands to a harness.

Its key says only that it was spawned; by whom stands in the gateway's entry of the session (`spawnedBy`), from before
its first turn, and is kept there over restarts. Tried with openclaw 2026.9.6.
"""

from __future__ import annotations

from datetime import UTC, datetime

from clawbus.errors import Refused
from clawbus.gateway.rpc import GatewayRpc
from clawbus.gateway.session_key import SessionKey

_SPAWNED = ("subagent", "dashboard", "acp")
_INCOGNITO = "incognito-"
"""Children of incognito sessions, which have no entry; a turn of the bus is none, and so is nothing that it spawns."""


def is_spawned(session_key: str) -> bool:
    """True if a session may have been spawned by another."""
    key = SessionKey.parse(session_key)
    return key is not None and key.id is not None and key.kind in _SPAWNED and not key.id.startswith(_INCOGNITO)


async def spawner(rpc: GatewayRpc, session_key: str) -> tuple[str | None, datetime | None]:
    """The key of the session that has spawned this one, None if it was begun by a user; and when, where that is known.

    Raises GatewayAway, or Refused if the gateway knows no such session.
    """
    session = (await rpc.call("sessions.describe", {"key": session_key})).get("session")
    if session is None:
        raise Refused(f"the gateway knows no session {session_key}")
    found = session.get("spawnedBy")
    return str(found) if found else None, _moment(session.get("createdAt"))


def _moment(said: object) -> datetime | None:
    """The gateway stamps an entry once, in milliseconds, when it makes it."""
    return datetime.fromtimestamp(said / 1000, UTC) if isinstance(said, int | float) and 0 < said < 4e12 else None
