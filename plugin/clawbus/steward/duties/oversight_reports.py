"""Oversight reports: people are told of the tasks that they watch (level `told` of org.toml).

At the levels at which people decide, the nodes ask them, and the duty `approval_requests` brings it to them.
"""

from __future__ import annotations

from typing import ClassVar

from clawbus.org import Oversight
from clawbus.steward.context import in_line, quoted
from clawbus.steward.duty import Duty
from clawbus.wire.envelope import Envelope
from clawbus.wire.events import Event


class OversightReports(Duty):
    """One message when a watched task is given, and one when it has ended."""

    rule: ClassVar[str] = "oversight"

    async def on_event(self, event: Event) -> None:
        if event.kind == "accepted":
            to = str(event.detail.get("to", ""))
            rule = self._watched(event.sender, to)
            if rule is not None:
                label = in_line(str(event.detail.get("label") or "")) or "(no label)"
                text = f"{event.sender} gave {in_line(to)} task {event.task_id}: {label}"
                await self.context.tell(
                    self._human(rule), text, cause=(self.rule, event.task_id, "given"), subject="a task was given"
                )

    async def on_end(self, end: Envelope) -> None:
        if not any(rule.level == "told" for rule in self.context.org.oversight):
            return
        task_id = end.task_id or ""
        given = await self.context.history.given(task_id)
        if given is None:
            return
        rule = self._watched(given.sender, str(given.detail.get("to", "")))
        if rule is None:
            return
        first = await self.context.ends.read(task_id, given.sender, str(given.detail.get("to", "")))
        if first is None or first.envelope.id != end.id:  # only the first end counts
            return
        text = (
            f"Task {task_id} of {given.sender} ended: {first.status}, by {first.by}.\n\n{quoted(first.envelope.body)}"
        )
        await self.context.tell(
            self._human(rule), text, cause=(self.rule, task_id, "ended"), subject="a task has ended", kind="report"
        )

    def _watched(self, source: str, to: str) -> Oversight | None:
        """The rule by which a person is told of a task; for a team or pool that of the first member that has one."""
        org = self.context.org
        rules = (rule for worker in (to, *org.members(to)) for rule in org.watching(source, to, worker))
        return next((rule for rule in rules if rule.level == "told"), None)

    def _human(self, rule: Oversight) -> str:
        return rule.human or self.context.org.humans[0].id
