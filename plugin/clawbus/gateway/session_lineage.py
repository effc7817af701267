"""The session that has spawned another: of sub-agents, and of what `sessions_spawn` shows or hands to a harness.

A session key says only that the session was spawned. The gateway's entry of the session says by which one
(`spawnedBy`), from before its first turn, also after a restart. Tried with OpenClaw 2026.9.6.
"""

from __future__ import annotations

from datetime import UTC, datetime

from clawbus.errors import Refused
from clawbus.gateway.rpc import GatewayRpc
from clawbus.gateway.session_key import SessionKey

_SPAWNED = ("subagent", "dashboard", "acp")
_INCOGNITO = "incognito-"
"""A child of an incognito session, which has no entry. No turn of the bus is one, nor is what such a turn spawns."""


def is_spawned(session_key: str) -> bool:
    """True if a session may have been spawned by another."""
    key = SessionKey.parse(session_key)
    return key is not None and key.id is not None and key.kind in _SPAWNED and not key.id.startswith(_INCOGNITO)


async def spawner(rpc: GatewayRpc, session_key: str) -> tuple[str | None, datetime | None]:
    """The key of the session that has spawned this one (None: a user began it), and the moment, if it is known.

    Raises GatewayAway, or Refused if the gateway knows no such session.
    """
    session = (await rpc.call("sessions.describe", {"key": session_key})).get("session")
    if session is None:
        raise Refused(f"the gateway knows no session {session_key}")
    found = session.get("spawnedBy")
    return str(found) if found else None, _moment(session.get("createdAt"))


def _moment(stamp_ms: object) -> datetime | None:
    """The moment at which the gateway made the entry."""
    if not isinstance(stamp_ms, int | float) or not 0 < stamp_ms < 4e12:
        return None
    return datetime.fromtimestamp(stamp_ms / 1000, UTC)
