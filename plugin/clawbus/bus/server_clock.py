"""The server's clock: a deadline must not depend on the clock of one machine."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from clawbus.bus.bus import Bus
from clawbus.bus.messages import parse_time
from clawbus.wire.envelope import now

_VALID_S = 60.0


class ServerClock:
    """Reads the server's time from the info of a durable consumer (nats-server, ConsumerInfo)."""

    def __init__(self, bus: Bus, stream: str, durable: str) -> None:
        self._bus = bus
        self._method = f"CONSUMER.INFO.{stream}.{durable}"
        self._ahead = timedelta()
        """The server's clock minus this machine's."""
        self._looked_at: float | None = None

    async def has_passed(self, moment: datetime | None) -> bool:
        """True if a moment is over; None never is. Reads the server's clock once a minute. Raises BusAway."""
        if moment is None:
            return False
        if self._looked_at is None or time.monotonic() - self._looked_at > _VALID_S:
            info = await self._bus.api(self._method)
            self._ahead = parse_time(info["ts"]) - now()
            self._looked_at = time.monotonic()
        return moment < now() + self._ahead
