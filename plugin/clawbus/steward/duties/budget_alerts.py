"""Budgets: a person hears, once, of each tree of tasks that has used what it may, and those above who ran into it."""

from __future__ import annotations

from typing import ClassVar

from clawbus.errors import InvalidInput
from clawbus.steward.context import in_line
from clawbus.steward.duty import Duty
from clawbus.wire.events import Event


class BudgetAlerts(Duty):
    """An alert's key is the tree's first task. It clears when a person allows the tree more."""

    rule: ClassVar[str] = "budget"
    period_s: ClassVar[float | None] = 5.0

    async def on_event(self, event: Event) -> None:
        if event.kind != "over_budget":
            return
        over = await self._over(event.task_id)
        if not over:  # others' words are data: only the account says it; or a person was faster
            return
        said = {name: in_line(str(event.detail[name])) for name in ("to", "label") if event.detail.get(name)}
        label = f" ({said['label']})" if "label" in said else ""
        text = (
            f"The tree of tasks that began with {event.task_id} has used its budget: {over}. It gives no more; "
            f"{event.sender} was refused one for {said.get('to', 'somebody')}{label}. What runs goes on to its end.\n\n"
            f"Look: clawbus budget {event.task_id}\nWhat happened: clawbus replay --task {event.task_id}\n"
            f"Allow it more: clawbus budget {event.task_id} --raise turns=20"
        )
        above = [one for one in self.context.org.chain(event.sender) if one not in self.context.org.alerted]
        if not await self.context.alert(self.rule, event.task_id, True, text, over=over, by=event.sender):
            return
        for one in above:
            cause = (self.rule, event.task_id)
            if one in self.context.org.people:
                await self.context.reach(one, text, cause=cause, subject="a budget is used up")
            else:
                await self.context.tell(one, text, cause=cause, subject="a budget is used up", kind="report")

    async def tick(self) -> None:
        for alert in await self.context.alerts.raised(self.rule):
            if not await self._over(alert.key):
                await self.context.alert(self.rule, alert.key, False, "it may go on")

    async def _over(self, trace: str) -> str:
        try:
            tree = await self.context.spend.tree(trace)
        except InvalidInput:
            return ""
        return tree.over(self.context.spend.bound)
