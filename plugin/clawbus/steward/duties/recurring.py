"""Recurring work: each entry of [[recurring]] gives a task, or calls a meeting, whenever it is due.

It needs no cron, and no process that waits. Each entry has one timer of the server for its next time; when it fires,
the duty sets the timer for the time after. If times fell into an outage, one comes when server and steward are back.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any, ClassVar

from clawbus.errors import Away, ClawbusError, WireError
from clawbus.org import STEWARD
from clawbus.org import Recurring as Entry
from clawbus.org.cron import Cron
from clawbus.steward import meeting
from clawbus.steward.duty import Duty
from clawbus.steward.meeting import Meeting
from clawbus.tasks import NewTask, make_task
from clawbus.wire.channels import TASKS
from clawbus.wire.envelope import Envelope, now

log = logging.getLogger(__name__)


class Recurring(Duty):
    """A timer of this duty is an entry. The result of its task goes to the entry's `report_to` as a report."""

    rule: ClassVar[str] = "recurring"
    period_s: ClassVar[float | None] = 3600.0

    async def on_start(self) -> None:
        """Set the timers of new and changed entries, and take back those of entries that have left org.toml."""
        entries = {entry.id: entry for entry in self.context.org.recurring}
        for key in await self.context.timer_keys(self.rule):
            if key not in entries:
                await self.context.forget_timer(self.rule, key)
        for entry in entries.values():
            # A timer that is right stays: a steward that starts again must not begin the interval anew.
            held = await self.context.timer(self.rule, entry.id)
            if held is None or held.get("schedule") != _schedule(entry):
                await self._set(entry, now())

    async def tick(self) -> None:
        """Set the timers that the server has lost: it keeps one for 60 days, and a cron line may be longer."""
        keys = await self.context.timer_keys(self.rule)
        for entry in self.context.org.recurring:
            if entry.id not in keys:
                await self._set(entry, now())
        await self.context.clear_others(self.rule, [entry.id for entry in self.context.org.recurring])

    async def _set(self, entry: Entry, after: datetime) -> None:
        due = _next(entry, after)
        body = {"schedule": _schedule(entry), "due": due.isoformat()}
        await self.context.at(self.rule, entry.id, due, body)

    async def on_timer(self, key: str, body: dict[str, Any]) -> None:
        entry = next((entry for entry in self.context.org.recurring if entry.id == key), None)
        if entry is None or body.get("schedule") != _schedule(entry):  # the timer is of an earlier org.toml
            return
        self.context.check_running()
        due = datetime.fromisoformat(body["due"])
        try:
            await (self._meet(entry, due) if entry.meeting else self._give(entry, due))
            await self.context.alert(self.rule, entry.id, False, f"{entry.id} is due again")
        except Away:
            raise
        except ClawbusError as error:  # such as a full backlog, or an agent that has left: the next time may go well
            text = f"the recurring {entry.id} was not given away: {error}"
            await self.context.alert(self.rule, entry.id, True, text)
        await self._set(entry, due)

    async def _give(self, entry: Entry, due: datetime) -> None:
        new = NewTask(entry.to or "", entry.task, f"recurring: {entry.id}")
        given = self.context.given(self.rule, entry.id, due)
        ids = {"id": self.context.message_id(given["task_id"]), "trace_id": given["task_id"], **given}
        made = make_task(self.context.org, STEWARD, new)
        task = made.model_copy(update=ids | {"parent": self._thread(entry)})
        if await self._has_open_task(task):
            log.info("recurring %s: the last one has not ended, so this time is left out", entry.id)
            return
        await self.context.give(task)

    async def _has_open_task(self, task: Envelope) -> bool:
        """True if an earlier task of the same entry is queued or running."""
        for stored in await self.context.bus.stored(TASKS, self.context.subjects.task(task.to, task.priority, STEWARD)):
            try:
                other = await self.context.bus.verifier.envelope(self.context.subjects, stored)
            except WireError:
                continue
            if other.parent != task.parent or other.task_id == task.task_id:
                continue
            if await self.context.ends.read(other.task_id or "", STEWARD, other.to) is None:
                return True
        return False

    async def _meet(self, entry: Entry, due: datetime) -> None:
        meeting_id = self.context.task_id(self.rule, entry.id, due)
        others = [held for held in await meeting.open_meetings(self.context) if held.id != meeting_id]
        if any(held.series == entry.id for held in others):
            log.info("recurring %s: the last meeting goes on, so this time is left out", entry.id)
            return
        deadline = now() + timedelta(seconds=entry.lasts_s)
        of, to = entry.meeting or "", self._report_to(entry)
        meeting.members(self.context.org, of)
        await meeting.begin(self.context, Meeting(meeting_id, of, entry.agenda, deadline, to, entry.id))

    async def on_end(self, end: Envelope) -> None:
        """Report the result of an entry's task."""
        if end.to != STEWARD:
            return
        given = await self.context.accepted(end.task_id or "", STEWARD)
        threads = {self._thread(entry): entry for entry in self.context.org.recurring}
        entry = threads.get(str(given.detail.get("parent"))) if given else None
        if given is None or entry is None:
            return
        first = await self.context.ends.read(given.task_id, STEWARD, str(given.detail.get("to")))
        if first is not None:
            await self.context.tell(
                self._report_to(entry),
                f"The recurring {entry.id} ended as {first.status}, written by {first.by}:\n{first.envelope.body}",
                cause=(self.rule, given.task_id),
                subject=f"recurring {entry.id}: {first.status}",
                kind="report",
                task_id=given.task_id,
                parent=self._thread(entry),
            )

    def _thread(self, entry: Entry) -> str:
        """The id that all tasks of an entry have as their parent."""
        return self.context.task_id(self.rule, entry.id)

    def _report_to(self, entry: Entry) -> str:
        return entry.report_to or self.context.org.humans[0].id


def _schedule(entry: Entry) -> str:
    return f"cron {entry.cron}" if entry.cron else f"every {entry.every_s} s"


def _next(entry: Entry, after: datetime) -> datetime:
    """The next time of an entry that is after `after` and has not passed. An interval keeps its beat."""
    if entry.cron:
        return Cron.parse(entry.cron).after(max(after, now()))
    every_s = entry.every_s or 0
    missed = max(0, int((now() - after).total_seconds() // every_s))
    return (after + timedelta(seconds=(missed + 1) * every_s)).replace(microsecond=0)
