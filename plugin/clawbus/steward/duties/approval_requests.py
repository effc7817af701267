"""Approval requests: one person after the other is asked for a decision, up the line until one decides.

The worker's node holds the task (`node.worker.oversight`), and reads the decision by itself. This duty only asks. A
timer says who was asked last; the events of the task hold all else.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from clawbus.org.duration import in_words
from clawbus.steward.context import quoted
from clawbus.steward.duty import Duty
from clawbus.wire.envelope import Envelope, now
from clawbus.wire.events import Event, question_code


class ApprovalRequests(Duty):
    """A timer of this duty is a question without a decision. An alert is a question that all of its line have left."""

    rule: ClassVar[str] = "approval"

    async def on_event(self, event: Event) -> None:
        people = self.context.org.people
        if event.kind == "waiting_approval" and event.sender not in people:
            if event.detail.get("to") in people and not await self.context.timer(self.rule, self._key(event)):
                await self._ask(event, 0)
        elif event.kind in ("approved", "refused") and event.sender in people:
            await self._settled(self._key(event), f"{event.kind} by {event.sender}")

    async def on_end(self, end: Envelope) -> None:
        for alert in await self.context.alerts.raised(self.rule):
            if alert.detail.get("task") == end.task_id and await self._has_ended(end.task_id or ""):
                await self._settled(alert.key, "the task has ended")

    async def on_timer(self, key: str, body: dict[str, Any]) -> None:
        task_id, asked = str(body.get("task")), int(body.get("asked", 0))
        events = await self.context.history.events(task_id)
        about = [event for event in events if self._key(event) == key]
        question = next((event for event in about if event.kind == "waiting_approval"), None)
        decided = any(
            event.kind in ("approved", "refused") and event.sender in self.context.org.people for event in about
        )
        if question is None or decided or await self._has_ended(task_id):
            return
        line = self._line(question)
        if asked + 1 < len(line):
            await self._ask(question, asked + 1)
            return
        text = f"Nobody has decided on task {task_id} of {question.sender}. Asked: {', '.join(line)}."
        await self.context.alert(self.rule, key, True, f"{text}\n\n{_how(question)}", informed=line, task=task_id)

    async def _ask(self, question: Event, number: int) -> None:
        """Ask the person at place `number` of the line, and set the timer for the next one."""
        task_id, detail, line = question.task_id, question.detail, self._line(question)
        key, cause = self._key(question), (self.rule, self._key(question), number)
        what = "wants to start on a task" if detail.get("side") == "dispatch" else "has a report that waits"
        source = " ".join(str(detail.get("for")).split())[:64]
        wait_s = self.context.org.policies.escalate_s
        why = f"{line[number - 1]} has not decided within {in_words(wait_s)}.\n\n" if number else ""
        text = (
            f"{why}{question.sender} {what} of {source} (task {task_id}).\n\n{_how(question)}\n\n"
            f"{quoted(str(detail.get('text', '')))}"
        )
        subject = f"approval: {detail.get('label') or task_id}"
        whole = f"clawbus approvals {task_id}"
        await self.context.reach(line[number], text, cause=cause, subject=subject, task_id=task_id, whole=whole)
        if number:
            await self.context.event("escalated", task_id, cause=cause, to=line[number], after=line[number - 1])
        due = now() + timedelta(seconds=wait_s)
        await self.context.at(self.rule, key, due, {"task": task_id, "asked": number})

    def _line(self, question: Event) -> tuple[str, ...]:
        first = str(question.detail.get("to"))
        return (first, *self.context.org.people_above(first))

    def _key(self, event: Event) -> str:
        """The key of a question and of the decision on it."""
        # A decision names in `to` the agent that had asked.
        asks = event.sender if event.kind == "waiting_approval" else str(event.detail.get("to"))
        return self.context.task_id(
            self.rule, event.task_id, event.detail.get("side"), event.detail.get("digest"), asks
        )

    async def _has_ended(self, task_id: str) -> bool:
        given = await self.context.history.given(task_id)
        to = str(given.detail.get("to", "")) if given is not None else ""
        return given is not None and await self.context.ends.read(task_id, given.sender, to) is not None

    async def _settled(self, key: str, why: str) -> None:
        await self.context.forget_timer(self.rule, key)
        await self.context.alert(self.rule, key, False, why)


def _how(question: Event) -> str:
    """The two commands. The code ties the decision to the text below them, and to no other text."""
    this = f"{question.task_id} --code {question_code(question.sender, question.detail.get('digest'))}"
    return f"Yes: clawbus approve {this}\nNo:  clawbus refuse {this} --why REASON"
