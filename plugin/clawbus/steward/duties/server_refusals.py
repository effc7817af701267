"""Refused calls: a key of the company has tried what is not its own, or somebody came without one; people hear of it.

Nothing has happened: the server let none of it pass. But nodes, people and stewards do not try such things, so a key is
in wrong hands, or a program has a fault. A steward on the company's own machine reads the server's log.
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
"""Within one look: some `clawbus doctor` at once."""


class ServerRefusals(Duty):
    """One alert for each key, until an hour has passed without anything more. `counted`: how often, by key.

    None for what a change of org.toml has taken from a key a moment ago: its node has not heard of it yet.
    """

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
        for one in self._refusals.fresh():
            self.counted[one.key] += 1
            if was_its_own(self._home, self.context.org, one):
                continue
            if self._is_the_doctors(one) and doctors[one.key] < _MOST_OF_DOCTORS:
                doctors[one.key] += 1
            else:
                found.setdefault(one.key, one)
        for key, one in found.items():
            text = (
                "Somebody asked nats-server to be let in with credentials that it does not take, or without any."
                if key == STRANGER
                else f"The key {key} has tried to {one.what} {one.subject[:300]}, which is not its own."
            )
            await self.context.at(self.rule, key, now() + _QUIET, {})
            await self.context.alert(
                self.rule,
                key,
                True,
                f"{text}\nThe server refused it. Look: .clawbus/logs/nats-server.log, and docs/security.md.",
                counted=self.counted[key],
            )

    def _is_the_doctors(self, one: Refusal) -> bool:
        """Whoever imitates it is refused all the same, and counted."""
        if one.label != f"clawbus {LABEL}":
            return False
        if one.key not in self._tried:
            self._tried[one.key] = tried_by_the_doctor(self.context.org, one.key)
        return one.subject in self._tried[one.key]

    async def on_timer(self, key: str, body: dict[str, Any]) -> None:  # noqa: ARG002 - a timer has a body
        await self.context.alert(self.rule, key, False, "nothing more was refused for an hour")
