"""The server's clock, as this connection may know it: whether a moment is over must not hang on one machine's clock."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from clawbus.bus.bus import Bus
from clawbus.bus.messages import parse_time
from clawbus.wire.envelope import now

_AGAIN_S = 60.0


class ServerClock:
    """Asks a consumer that its owner may look at: the answer carries the server's time (nats-server, ConsumerInfo)."""

    def __init__(self, bus: Bus, stream: str, durable: str) -> None:
        self._bus = bus
        self._method = f"CONSUMER.INFO.{stream}.{durable}"
        self._ahead = timedelta()
        """How far the server's clock is ahead of this machine's."""
        self._looked_at: float | None = None

    async def has_passed(self, moment: datetime | None) -> bool:
        """Whether a moment is over; None never is. Looks at the server's clock once a minute. Raises BusAway."""
        if moment is None:
            return False
        if self._looked_at is None or time.monotonic() - self._looked_at > _AGAIN_S:
            said = await self._bus.api(self._method)
            self._ahead = parse_time(said["ts"]) - now()
            self._looked_at = time.monotonic()
        return moment < now() + self._ahead
