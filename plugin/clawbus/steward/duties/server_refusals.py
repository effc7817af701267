"""Server refusals: people hear when nats-server has refused a call of one of the company's keys, or a connection.

The server let nothing pass. But nodes, people and stewards do not try such things. So a key is in wrong hands, or a
program has a fault. A steward on the company's own machine reads the server's log.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any, ClassVar

from clawbus.provision.permission_probe import LABEL, tried_by_the_doctor
from clawbus.provision.server_log import STRANGER, Refusal, ServerLog
from clawbus.provision.withdrawn_rights import was_its_own
from clawbus.settings import Home
from clawbus.steward.context import Context
from clawbus.steward.duty import Duty
from clawbus.wire.envelope import now

_QUIET = timedelta(hours=1)
_MOST_OF_DOCTORS = 50
"""The refusals of one key in one `tick` that may come from `clawbus doctor`; several may run at once."""


class ServerRefusals(Duty):
    """One alert for each key. It clears when nothing more was refused for an hour. `counted`: key -> refusals."""

    rule: ClassVar[str] = "refused"
    period_s: ClassVar[float | None] = 1.0

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._home = Home(context.folder / ".clawbus")
        self._refusals = ServerLog(self._home)
        self.counted: Counter[str] = Counter()
        self._tried: dict[str, frozenset[str]] = {}

    async def tick(self) -> None:
        found: dict[str, Refusal] = {}
        doctors: Counter[str] = Counter()
        for refusal in self._refusals.fresh():
            self.counted[refusal.key] += 1
            # A change of org.toml has just taken the right from the key, and its node has not heard of it yet.
            if was_its_own(self._home, self.context.org, refusal):
                continue
            if self._is_the_doctors(refusal) and doctors[refusal.key] < _MOST_OF_DOCTORS:
                doctors[refusal.key] += 1
            else:
                found.setdefault(refusal.key, refusal)
        for key, refusal in found.items():
            text = (
                "Somebody asked nats-server to be let in with credentials that it does not take, or without any."
                if key == STRANGER
                else f"The key {key} has tried to {refusal.what} {refusal.subject[:300]}, which is not its own."
            )
            await self.context.at(self.rule, key, now() + _QUIET, {})
            await self.context.alert(
                self.rule,
                key,
                True,
                f"{text}\nThe server refused it. Look: .clawbus/logs/nats-server.log, and docs/security.md.",
                counted=self.counted[key],
            )

    def _is_the_doctors(self, refusal: Refusal) -> bool:
        """True if `clawbus doctor` makes such a call. A thief who imitates it is refused and counted all the same."""
        if refusal.label != f"clawbus {LABEL}":
            return False
        if refusal.key not in self._tried:
            self._tried[refusal.key] = tried_by_the_doctor(self.context.org, refusal.key)
        return refusal.subject in self._tried[refusal.key]

    async def on_timer(self, key: str, body: dict[str, Any]) -> None:  # noqa: ARG002 - a timer has a body
        await self.context.alert(self.rule, key, False, "nothing more was refused for an hour")
