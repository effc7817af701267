"""The alerts: the last message of each subject of ALERTS says if one is raised or cleared."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from clawbus.bus import Bus, Stored
from clawbus.errors import WireError
from clawbus.wire.channels import ALERTS
from clawbus.wire.strict_json import read_object
from clawbus.wire.subjects import Subjects


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. `key`: its subject within its rule. `at`: the time since which its state holds."""

    rule: str
    key: str
    raised: bool
    text: str
    at: datetime
    detail: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        names = ("rule", "key", "raised", "text", "detail")
        return {name: getattr(self, name) for name in names} | {"at": self.at.isoformat()}


class Alerts:
    """Reads the alerts. A second read asks the server only for what is new."""

    def __init__(self, bus: Bus, subjects: Subjects) -> None:
        self._bus = bus
        self._subjects = subjects
        self._seen_seq = 0
        self._last: dict[tuple[str, str], Alert] = {}

    async def all(self) -> list[Alert]:
        """Every alert that is remembered, the oldest state first. Raises BusAway."""
        pattern = self._subjects.everything("alerts")
        for stored in await self._bus.stored(ALERTS, pattern, self._seen_seq + 1):
            signed = await self._is_signed(stored)
            if stored.seq > self._seen_seq:  # another read at the same time may have been faster
                self._seen_seq = stored.seq
                if signed:
                    self._add(stored)
        return sorted(self._last.values(), key=lambda alert: alert.at)

    async def raised(self, rule: str) -> list[Alert]:
        """The alerts of one rule that are raised now. Raises BusAway."""
        return [alert for alert in await self.all() if alert.rule == rule and alert.raised]

    async def _is_signed(self, stored: Stored) -> bool:
        with contextlib.suppress(WireError):
            await self._bus.verifier.check(stored)
            return True
        return False

    def _add(self, stored: Stored) -> None:
        with contextlib.suppress(WireError):
            tokens, body = self._subjects.parse(stored.subject).tokens, read_object(stored.data)
            alert = Alert(
                tokens["rule"],
                tokens["key"],
                bool(body.get("raised")),
                str(body.get("text", "")),
                stored.at,
                detail if isinstance(detail := body.get("detail"), dict) else {},
            )
            self._last[alert.rule, alert.key] = alert
