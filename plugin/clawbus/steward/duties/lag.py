"""Lag: an alert for each agent with more waiting tasks than the company wants. It clears by itself.

The stream is asked by subject, since a gateway's durable consumer serves several agents.
"""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from clawbus.steward.duty import Duty
from clawbus.wire.channels import TASKS


class Lag(Duty):
    """policies.lag_alert is the bound. Teams and pools have a queue of their own, and so a lag of their own."""

    rule: ClassVar[str] = "lag"
    period_s: ClassVar[float | None] = 5.0

    async def tick(self) -> None:
        waiting = await self._waiting()
        bound = self.context.org.policies.lag_alert
        receivers = [*(agent.id for agent in self.context.org.agents), *self.context.org.groups]
        for receiver in receivers:
            count = waiting[receiver]
            text = f"{count} tasks wait for {receiver}; more than {bound} is too many. Look: clawbus tasks --open"
            await self.context.alert(self.rule, receiver, count > bound, text, waiting=count, bound=bound)
        await self.context.clear_others(self.rule, receivers)

    async def _waiting(self) -> Counter[str]:
        """Receiver -> tasks that are not acknowledged. A task that is running counts."""
        pattern = self.context.subjects.everything("tasks")
        answer = await self.context.bus.api(f"STREAM.INFO.{TASKS}", {"subjects_filter": pattern})
        found: Counter[str] = Counter()
        for subject, count in (answer["state"].get("subjects") or {}).items():
            found[self.context.subjects.addressed(subject)] += count
        return found
