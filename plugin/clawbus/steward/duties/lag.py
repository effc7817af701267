"""Lag: more waiting tasks for one agent than the company wants raises an alert, which clears by itself.

The lag of one agent is a question to the stream, by subject: a gateway's durable serves several agents.
"""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from clawbus.steward.duty import Duty
from clawbus.wire.channels import TASKS


class Lag(Duty):
    """policies.lag_alert is the bound; teams and pools have a queue of their own, and so a lag."""

    rule: ClassVar[str] = "lag"
    period_s: ClassVar[float | None] = 5.0

    async def tick(self) -> None:
        waiting = await self._waiting()
        bound = self.context.org.policies.lag_alert
        for one in (*(agent.id for agent in self.context.org.agents), *self.context.org.groups):
            count = waiting[one]
            text = f"{count} tasks wait for {one}; more than {bound} is too many. Look: clawbus tasks --open"
            await self.context.alert(self.rule, one, count > bound, text, waiting=count, bound=bound)
        await self.context.clear_others(
            self.rule, {agent.id for agent in self.context.org.agents} | {*self.context.org.groups}
        )

    async def _waiting(self) -> Counter[str]:
        """Tasks that have not been acknowledged, by whom they are for; what is being worked on counts."""
        pattern = self.context.subjects.everything("tasks")
        answer = await self.context.bus.api(f"STREAM.INFO.{TASKS}", {"subjects_filter": pattern})
        found: Counter[str] = Counter()
        for subject, count in (answer["state"].get("subjects") or {}).items():
            found[self.context.subjects.addressed(subject)] += count
        return found
