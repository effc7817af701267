"""Reading what the bus remembers of tasks: events and ends."""

from __future__ import annotations

from datetime import datetime

from clawbus.bus import Bus
from clawbus.errors import NotFound, WireError
from clawbus.org import Org
from clawbus.tasks.board import TaskView, fold
from clawbus.tasks.ends import Ends
from clawbus.wire.channels import ENDS, EVENTS
from clawbus.wire.envelope import Envelope
from clawbus.wire.events import Event, takers_in
from clawbus.wire.subjects import Subjects, check_task_id


class History:
    """What happened, from the streams. Raises BusAway where the bus does not answer."""

    def __init__(self, bus: Bus, org: Org) -> None:
        self._bus = bus
        self._org = org
        self._subjects = Subjects(org.company)

    async def events(self, task_id: str | None = None) -> list[Event]:
        """All events that are kept, of one task or of all, each once. What is malformed or not signed is left out.

        One may stand there twice: sent again after an answer that was lost, or by a thief, who can sign nothing new.
        """
        pattern = self._subjects.events_of(task_id) if task_id else self._subjects.everything("events")
        found: dict[tuple[str, str], Event] = {}
        read = self._bus.stored_singly if task_id else self._bus.stored
        for stored in await read(EVENTS, pattern):
            try:
                event = await self._bus.verifier.event(self._subjects, stored)
            except WireError:
                continue
            found.setdefault((stored.subject, event.id), event)  # another may use an id, not a subject
        return [*found.values()]

    async def given(self, task_id: str) -> Event | None:
        """The first `accepted` of a task: what counts of who gave it to whom; None if nobody has said it."""
        return next((one for one in await self.events(task_id) if one.kind == "accepted"), None)

    async def tasks(self, events: list[Event] | None = None) -> list[TaskView]:
        """Every task that is remembered, the oldest first. `events`: all that there are, if they are read already."""
        events = await self.events() if events is None else events
        parties = self._parties(events)
        ends: list[tuple[Envelope, datetime]] = []
        for stored in await self._bus.stored(ENDS, self._subjects.everything("end")):
            try:
                parsed = self._subjects.parse(stored.subject)
                if parsed.sender in parties.get(parsed.task_id or "", set()) | self._org.may_end:
                    ends.append((await self._bus.verifier.envelope(self._subjects, stored), stored.at))
            except WireError:
                continue
        return fold(events, ends, self._org.may_take, self._org.people)

    def _parties(self, events: list[Event]) -> dict[str, set[str]]:
        """Who gave each task, and who may take it."""
        found: dict[str, set[str]] = {}
        for event in events:
            if event.kind == "accepted":  # the first one counts
                takers = self._org.may_take(str(event.detail.get("to", "")))
                found.setdefault(event.task_id, {event.sender, *takers, *takers_in(event)})
        return found

    async def task(self, task_id: str) -> TaskView:
        """One task. Raises NotFound if nothing is remembered of it."""
        check_task_id("task", task_id)
        events = await self.events(task_id)
        views = fold(events, [], self._org.may_take, self._org.people)
        if not views:
            raise NotFound(f"no task {task_id} is known here", "List them with `clawbus tasks`.")
        ends = Ends(self._bus, self._subjects, self._org.may_end, self._org.may_take)
        end = await ends.read(task_id, views[0].requester, views[0].to)
        ended = [(end.envelope, end.at)] if end else []
        return fold(events, ended, self._org.may_take, self._org.people)[0]
