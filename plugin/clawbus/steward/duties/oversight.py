"""Oversight: people hear of what they want to be told of, and of what waits for their decision.

The worker's node holds what has to be asked for (`worker.overseer`); this is only the telling.
"""

from __future__ import annotations

from typing import ClassVar

from clawbus.envelope import Envelope
from clawbus.events import Event
from clawbus.org import Oversight as Rule
from clawbus.steward.duty import Duty


class Oversight(Duty):
    """Levels `told`, `ask_dispatch` and `ask_report` of org.toml."""

    rule: ClassVar[str] = "oversight"

    async def on_event(self, event: Event) -> None:
        if event.kind == "waiting_approval" and event.sender not in self.desk.org.people:
            await self._ask(event)
        elif event.kind == "accepted":
            to = str(event.detail.get("to", ""))
            rule = self._watched(event.sender, to)
            if rule is not None and rule.level == "told":
                text = f"{event.sender} gave {to} task {event.task_id}: {event.detail.get('label') or '(no label)'}"
                await self.desk.tell(
                    self._human(rule), text, cause=(self.rule, event.task_id, "given"), subject="a task was given"
                )

    async def on_end(self, end: Envelope) -> None:
        if not any(rule.level == "told" for rule in self.desk.org.oversight):
            return
        task_id = end.task_id or ""
        given = await self.desk.history.given(task_id)
        if given is None:
            return
        rule = self._watched(given.sender, str(given.detail.get("to", "")))
        if rule is None or rule.level != "told":
            return
        counts = await self.desk.ends.read(task_id, given.sender, str(given.detail.get("to", "")))
        if counts is None or counts.envelope.id != end.id:  # one that is written later ends nothing
            return
        said = f"{counts.status}, by {counts.by}.\n\n{counts.envelope.body}"
        text = f"Task {task_id} of {given.sender} ended: {said}"
        await self.desk.tell(
            self._human(rule), text, cause=(self.rule, task_id, "ended"), subject="a task has ended", kind="report"
        )

    async def _ask(self, event: Event) -> None:
        side, detail = str(event.detail.get("side", "")), event.detail
        human = str(detail.get("to", ""))
        if human not in self.desk.org.people:
            return
        what = "wants to start on a task" if side == "dispatch" else "has a report that waits"
        text = (
            f"{event.sender} {what} of {detail.get('for')} (task {event.task_id}).\n\n{detail.get('text', '')}\n\n"
            f"Yes: clawbus approve {event.task_id}\nNo:  clawbus refuse {event.task_id} --why REASON"
        )
        subject = f"approval: {detail.get('label') or event.task_id}"
        cause = (self.rule, event.task_id, side, event.sender)
        await self.desk.reach(human, text, cause=cause, subject=subject, task_id=event.task_id)

    def _watched(self, source: str, to: str) -> Rule | None:
        """The rule of an edge; of a team or pool that of the first member that has one."""
        rules = (self.desk.org.watch(source, one) for one in (to, *self.desk.org.members(to)))
        return next((rule for rule in rules if rule is not None), None)

    def _human(self, rule: Rule) -> str:
        return rule.human or self.desk.org.humans[0].id
