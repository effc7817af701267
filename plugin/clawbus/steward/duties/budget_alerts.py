"""Budget alerts: people hear once of each tree of tasks that has used its budget.

So do the superiors of the agent whose task was refused for it.
"""

from __future__ import annotations

from typing import ClassVar

from clawbus.errors import InvalidInput
from clawbus.steward.context import in_line
from clawbus.steward.duty import Duty
from clawbus.wire.events import Event


class BudgetAlerts(Duty):
    """An alert's key is the tree's first task. The alert clears when a person allows the tree more."""

    rule: ClassVar[str] = "budget"
    period_s: ClassVar[float | None] = 5.0

    async def on_event(self, event: Event) -> None:
        if event.kind != "over_budget":
            return
        exceeded = await self._exceeded(event.task_id)
        if not exceeded:  # only the account counts, not the word of an event; or a person was faster
            return
        refused = {name: in_line(str(event.detail[name])) for name in ("to", "label") if event.detail.get(name)}
        label = f" ({refused['label']})" if "label" in refused else ""
        text = (
            f"The tree of tasks that began with {event.task_id} has used its budget: {exceeded}. It gives no more; "
            f"{event.sender} was refused one for {refused.get('to', 'somebody')}{label}. "
            "What runs goes on to its end.\n\n"
            f"Look: clawbus budget {event.task_id}\nWhat happened: clawbus replay --task {event.task_id}\n"
            f"Allow it more: clawbus budget {event.task_id} --raise turns=20"
        )
        if not await self.context.alert(self.rule, event.task_id, True, text, over=exceeded, by=event.sender):
            return
        cause, subject = (self.rule, event.task_id), "a budget is used up"
        for superior in self.context.org.chain(event.sender):
            if superior in self.context.org.alerted:
                continue
            if superior in self.context.org.people:
                await self.context.reach(superior, text, cause=cause, subject=subject)
            else:
                await self.context.tell(superior, text, cause=cause, subject=subject, kind="report")

    async def tick(self) -> None:
        for alert in await self.context.alerts.raised(self.rule):
            if not await self._exceeded(alert.key):
                await self.context.alert(self.rule, alert.key, False, "it may go on")

    async def _exceeded(self, trace: str) -> str:
        """The part of a tree's budget that is used up, in words; empty while it may give a task."""
        try:
            tree = await self.context.spend.tree(trace)
        except InvalidInput:
            return ""
        return tree.exceeded(self.context.spend.bound)
