"""Deadlines: the times by which a task is to be taken and done (its SLA), and by which it expires.

The event `accepted` names all three. Each task has one timer, set for the next of its deadlines. When it fires, the
task's events and its end say if the deadline was kept. A breach is raised like a blocker, and climbs like one until
somebody answers or the task has caught up. A task that expires gets its end before its queue drops it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from clawbus.org import EXTERNAL, STEWARD
from clawbus.org.duration import in_words
from clawbus.steward.alert_states import Alert
from clawbus.steward.context import in_line
from clawbus.steward.duty import Duty
from clawbus.tasks import control
from clawbus.tasks.ends import End
from clawbus.wire.channels import EVENTS
from clawbus.wire.envelope import Envelope, now
from clawbus.wire.events import Event

log = logging.getLogger(__name__)
_LONGEST_S = 30 * 86_400  # the bound of `envelope.Sla`
_TAKEN = ("delivered", "started", "progress", "retrying", "resumed", "ended")
_WORDS = {"ack": "not taken", "done": "not done"}


@dataclass(frozen=True, slots=True)
class _Task:
    """A task as its first `accepted` describes it. `moments`: (time, deadline, seconds allowed), the next one first."""

    id: str
    requester: str
    to: str
    label: str
    moments: tuple[tuple[datetime, str, int], ...]


class Deadlines(Duty):
    """A timer of this duty is an open task. Its key is the task's id; its body names the deadline: ack, done or end."""

    rule: ClassVar[str] = "deadlines"
    period_s: ClassVar[float | None] = 2.0

    async def on_event(self, event: Event) -> None:
        if event.kind == "accepted" and await self._is_first(event):
            await self._next(self._task(event), "")

    async def on_end(self, end: Envelope) -> None:
        given = await self.context.history.given(end.task_id or "")
        if given is not None and await self._end(self._task(given)) is not None:  # not every end that is written counts
            await self.context.forget_timer(self.rule, given.task_id)

    async def on_timer(self, key: str, body: dict[str, Any]) -> None:
        events = await self.context.history.events(key)
        given = next((event for event in events if event.kind == "accepted"), None)
        if given is None:
            return
        task, what = self._task(given), str(body.get("what"))
        if await self._end(task) is not None:
            return
        if what == "end":
            await self._expire(task)
        elif what == "done" or not self._taken_by(task, events):
            await self._breach(task, what, self._taken_by(task, events))
        await self._next(task, what)

    async def tick(self) -> None:
        """Clear the alert of each breach whose task has been taken or has ended since."""
        for alert in await self.context.alerts.raised(self.rule):
            await self._look_again(alert)

    async def _is_first(self, event: Event) -> bool:
        """True if it is the `accepted` that counts: a later one cannot move a deadline."""
        pattern = self.context.subjects.events_of(event.task_id)
        first = await self.context.bus.next_message(EVENTS, pattern)
        if first is not None and first.data == event.encode():
            return True
        given = await self.context.history.given(event.task_id)
        return given is not None and given.id == event.id

    # -- one task ---------------------------------------------------------------------------------------------------

    def _task(self, given: Event) -> _Task:
        life_s = self.context.org.policies.task_life_s
        moments = [(given.at + timedelta(seconds=life_s), "end", life_s)]
        if (expires := _time(given.detail.get("expires_at"))) is not None:
            moments = [(expires, "end", 0)]
        for name, what in (("ack_within_s", "ack"), ("complete_within_s", "done")):
            if 0 < (within_s := given.number(name)) <= _LONGEST_S:
                moments.append((given.at + timedelta(seconds=within_s), what, within_s))
        label, to = in_line(str(given.detail.get("label") or "")), str(given.detail.get("to", ""))
        return _Task(given.task_id, given.sender, to, label, tuple(sorted(moments)))

    async def _next(self, task: _Task, after: str) -> None:
        """Set the timer for the deadline that follows `after`; for the first one if `after` is empty."""
        names = [what for _, what, _ in task.moments]
        left = task.moments[names.index(after) + 1 :] if after in names else task.moments
        if left:
            await self.context.at(self.rule, task.id, left[0][0], {"what": left[0][1]})

    async def _end(self, task: _Task) -> End | None:
        return await self.context.ends.read(task.id, task.requester, task.to)

    def _taken_by(self, task: _Task, events: list[Event]) -> str:
        takers = self.context.org.may_take(task.to)
        return next((event.sender for event in reversed(events) if event.kind in _TAKEN and event.sender in takers), "")

    # -- a breach -----------------------------------------------------------------------------------------------------

    async def _breach(self, task: _Task, what: str, worker: str) -> None:
        within_s = next(within for _, deadline, within in task.moments if deadline == what)
        label = f" ({task.label})" if task.label else ""
        where = f"{worker or task.to} has it" if worker else f"nobody of {task.to} has taken it"
        text = (
            f"Task {task.id}{label}, which {task.requester} gave to {task.to}, was {_WORDS[what]} within "
            f"{in_words(within_s)}: {where}."
        )
        chain, thread = self._above(worker or task.to), self.context.task_id(self.rule, task.id, what)
        cause = (self.rule, task.id, what)
        subject = f"SLA: {_WORDS[what]} in time: {task.label or task.id}"[:200]
        await self.context.event("breached", task.id, cause=cause, what=what, within_s=within_s, to=chain[0], why=text)
        await self.context.tell(
            chain[0],
            text,
            cause=cause,
            subject=subject,
            kind="blocker",
            priority="high",
            task_id=thread,
            parent=task.id,
        )
        raised = {"chain": " ".join(chain), "to": chain[0], "subject": subject, "about": task.id, "body": text}
        await self.context.event("raised", thread, cause=cause, **raised)
        detail = {"task": task.id, "what": what, "requester": task.requester, "to": task.to}
        await self.context.alert(self.rule, f"{task.id}-{what}", True, text, informed=chain[:1], **detail)

    def _above(self, to: str) -> tuple[str, ...]:
        """The superiors who are asked about a breach, nearest first. `to`: the worker, or a team or pool."""
        org = self.context.org
        chains = [org.chain(member) for member in sorted(org.may_take(to))]
        # Of a team or pool only those above all members: one member's superior could not send the others to work.
        shared = (superior for superior in chains[0] if all(superior in chain for chain in chains))
        common = next(shared, org.humans[0].id)
        return (common, *(() if common in org.people else org.chain(common)))

    async def _look_again(self, alert: Alert) -> None:
        detail = {name: str(value) for name, value in alert.detail.items()}
        task = _Task(detail["task"], detail["requester"], detail["to"], "", ())
        end = await self._end(task)
        taken = detail["what"] == "ack" and self._taken_by(task, await self.context.history.events(task.id))
        if end is None and not taken:
            return
        now_so = f"it has ended: {end.status}" if end is not None else f"{taken} has taken it"
        thread = self.context.task_id(self.rule, task.id, detail["what"])
        await self.context.event("resolved", thread, cause=(self.rule, task.id, detail["what"]), by=now_so)
        await self.context.alert(self.rule, alert.key, False, now_so, **alert.detail)

    # -- the task expires ---------------------------------------------------------------------------------------------

    async def _expire(self, task: _Task) -> None:
        """Write the end as the steward, send the requester a copy, and tell the workers to stop."""
        expired = Envelope(
            id=self.context.message_id(self.rule, task.id, "expired"),
            type="result",
            sender=STEWARD,
            to=task.requester,
            task_id=task.id,
            status="timed_out",
            subject=task.label,
            body=f"The time of this task was over before {task.to} had done it.",
        )
        won, end = await self.context.ends.write(expired, task.requester, task.to)
        if not won:
            return
        if task.requester not in (EXTERNAL, STEWARD):
            await self.context.publish(self.context.subjects.dm(task.requester, STEWARD), end.envelope)
        for worker in sorted(self.context.org.may_take(task.to)):
            note_id = self.context.message_id(self.rule, task.id, "expired", worker)
            note = control(expired, STEWARD, worker).model_copy(update={"id": note_id})
            await self.context.publish(self.context.subjects.ctl(worker, STEWARD), note)
        log.info("task %s has expired", task.id)


def _time(text: object) -> datetime | None:
    """A time of an event's detail; None if it is none: others' events are data."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(now().tzinfo) if text else None
    except (ValueError, OverflowError):
        return None
