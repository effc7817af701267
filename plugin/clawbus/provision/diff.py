"""What the server has, against what is wanted: how both streams and consumers are compared."""

from __future__ import annotations

from typing import Any

from clawbus.bus import Bus
from clawbus.bus.messages import MISSING
from clawbus.errors import Refused


async def info(bus: Bus, method: str) -> dict[str, Any] | None:
    """The answer of an INFO call, None if there is no such thing. Raises BusAway or Refused."""
    try:
        return await bus.api(method)
    except Refused as refusal:
        if refusal.code in MISSING:
            return None
        raise


def differs(have: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether the server's configuration lacks something that is wanted; zero and absent are the same there."""
    return any((have.get(key) or None) != (value or None) for key, value in wanted.items())
