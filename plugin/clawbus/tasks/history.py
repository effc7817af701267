"""The history of tasks: the events and ends that the streams still have."""

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
    """Reads the history. Every call raises BusAway if the bus does not answer."""

    def __init__(self, bus: Bus, org: Org) -> None:
        self._bus = bus
        self._org = org
        self._subjects = Subjects(org.company)

    async def events(self, task_id: str | None = None) -> list[Event]:
        """The events of one task, or of all, each once. Events that are malformed or not signed are left out."""
        pattern = self._subjects.events_of(task_id) if task_id else self._subjects.everything("events")
        found: dict[tuple[str, str], Event] = {}
        read = self._bus.stored_singly if task_id else self._bus.stored
        for stored in await read(EVENTS, pattern):
            try:
                event = await self._bus.verifier.event(self._subjects, stored)
            except WireError:
                continue
            # An event may stand there twice: its sender sent it again after a lost ack, or a thief did, who can sign
            # nothing new. The subject is in the key, since another sender can use an id, but not a subject.
            found.setdefault((stored.subject, event.id), event)
        return [*found.values()]

    async def given(self, task_id: str) -> Event | None:
        """The first `accepted` of a task, which says who gave it to whom; None if there is none."""
        return next((event for event in await self.events(task_id) if event.kind == "accepted"), None)

    async def tasks(self, events: list[Event] | None = None) -> list[TaskView]:
        """Every task that the streams still have, the oldest first. `events`: all events, if they were read before."""
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
        """Task -> its requester and the agents that may take it."""
        found: dict[str, set[str]] = {}
        for event in events:
            if event.kind == "accepted":  # the first one counts
                takers = self._org.may_take(str(event.detail.get("to", "")))
                found.setdefault(event.task_id, {event.sender, *takers, *takers_in(event)})
        return found

    async def task(self, task_id: str) -> TaskView:
        """One task. Raises NotFound if the streams have nothing of it."""
        check_task_id("task", task_id)
        events = await self.events(task_id)
        views = fold(events, [], self._org.may_take, self._org.people)
        if not views:
            raise NotFound(f"no task {task_id} is known here", "List them with `clawbus tasks`.")
        ends = Ends(self._bus, self._subjects, self._org.may_end, self._org.may_take)
        end = await ends.read(task_id, views[0].requester, views[0].to)
        ended = [(end.envelope, end.at)] if end else []
        return fold(events, ended, self._org.may_take, self._org.people)[0]
