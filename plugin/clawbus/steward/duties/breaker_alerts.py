"""Breaker alerts: an agent's tasks for one receiver have failed alike so often that no more are sent."""

from __future__ import annotations

from typing import ClassVar

from clawbus.steward.context import in_line
from clawbus.steward.duty import Duty
from clawbus.wire.events import Event


class BreakerAlerts(Duty):
    """One alert for each pair of an agent and a receiver. It clears when a task between them is done again."""

    rule: ClassVar[str] = "breaker"

    async def on_event(self, event: Event) -> None:
        if event.kind not in ("breaker_open", "breaker_closed"):
            return
        to = in_line(str(event.detail.get("to")))
        if not any(agent.id == event.sender for agent in self.context.org.agents):
            return
        key = self.context.task_id(self.rule, event.sender, to)
        if event.kind == "breaker_closed":
            await self.context.alert(self.rule, key, False, f"{event.sender} -> {to}: a task was done again")
            return
        text = (
            f"{event.number('failures')} tasks in a row of {event.sender} for {to} have failed alike: "
            f"{in_line(str(event.detail.get('why')))[:300]}\nNo more are sent for a while, then one, to see.\n\n"
            f"Look: clawbus replay --task {event.task_id}"
        )
        await self.context.alert(self.rule, key, True, text, source=event.sender, to=to)
