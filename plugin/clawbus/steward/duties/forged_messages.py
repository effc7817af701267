"""Forged messages: people hear at once of each message that a reader has refused, since it was not its sender's.

Each reader refuses by itself (`bus.verifier`). A steward sees the refusals of its own streams. Of tasks, mail and
control messages the receiver's node writes a dead letter that names the kind.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any, ClassVar

from clawbus.errors import InvalidInput
from clawbus.steward.context import Context
from clawbus.steward.duty import Duty
from clawbus.wire.envelope import now
from clawbus.wire.subjects import check_id

_QUIET = timedelta(hours=1)
_REPEAT_S = 60.0
"""Of a flood under one name, the first message of each minute is enough."""


class ForgedMessages(Duty):
    """One alert for each name that was misused. It clears when no such message has come for an hour."""

    rule: ClassVar[str] = "forged"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._quiet_until: dict[str, float] = {}  # by name, in the monotonic time of this process

    async def on_forged(self, subject: str, reason: str) -> None:
        await self._alarm(subject, reason, "the steward turned it away")

    async def on_dead(self, task_id: str, letter: dict[str, Any]) -> None:
        if letter.get("refused"):
            subject, reason = str(letter.get("subject", "")), str(letter.get("reason", ""))
            await self._alarm(subject, reason, f"its receiver turned it away: clawbus dead show {task_id}")

    async def on_timer(self, key: str, body: dict[str, Any]) -> None:  # noqa: ARG002 - a timer has a body
        await self.context.alert(self.rule, key, False, "nothing more has come for an hour")

    async def _alarm(self, subject: str, reason: str, what: str) -> None:
        claimed = subject.rpartition(".")[2]
        try:
            check_id("from", claimed)
        except InvalidInput:
            claimed = "nobody"
        if time.monotonic() < self._quiet_until.get(claimed, 0.0):
            return
        text = (
            f"A message under the name of {claimed} was not sent by {claimed}, or not like this: {reason}\n"
            f"It came on {subject[:300]}; {what}.\n"
            "It was shown to no agent. Who can publish there has a key of the company: see docs/security.md."
        )
        await self.context.at(self.rule, claimed, now() + _QUIET, {})
        await self.context.alert(self.rule, claimed, True, text, reason=reason[:300], subject=subject[:300])
        self._quiet_until[claimed] = time.monotonic() + _REPEAT_S
