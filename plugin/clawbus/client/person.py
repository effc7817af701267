"""A person on the bus: gives tasks, waits for them, takes them back, sends messages."""

from __future__ import annotations

import contextlib

from clawbus.bus import Bus
from clawbus.client.company import Company
from clawbus.client.inbox_copies import InboxCopies
from clawbus.errors import BacklogFull, BusAway, DiskFull, NotFound, NotKept, WireError
from clawbus.org.addressing import subject_of
from clawbus.retry import retry
from clawbus.tasks import Following, TaskView, cancellation, control, said_to, team_note
from clawbus.tasks.budget_account import spend_of
from clawbus.tasks.ends import End
from clawbus.wire.channels import EVENTS
from clawbus.wire.envelope import Envelope, check_body
from clawbus.wire.events import Event, Kind, Value, accepted_detail, raised_detail
from clawbus.wire.subjects import new_message_id

_AGAIN_S = 0.5


class Person:
    """A person of the company on the bus, over one connection."""

    def __init__(self, company: Company, bus: Bus, me: str) -> None:
        self._company = company
        self._bus = bus
        self._subjects = company.subjects
        self._ends = company.ends(bus)
        self._spend = spend_of(bus, company.org)
        self.following = Following(bus, self._subjects, self._ends)
        self.copies = InboxCopies(bus, self._subjects, me)
        self.me = me

    async def give(self, task: Envelope) -> None:
        """Give a task (of `make_task`) to an agent; when this returns, the server has it on disk.

        Raises BacklogFull, OverBudget, Refused or BusAway: then give the same task again.
        """
        subject = self._subjects.task(task.to, task.priority, self.me)
        try:
            await self._spend.reserve(task)
            await self._publish(subject, task)
        except BacklogFull as full:
            full.count(self._company.org.policies.quota, task.to, task.priority)
            raise
        except DiskFull:
            raise  # it says itself what became of the task
        except BusAway as away:
            more = f" {away.remedy}" if isinstance(away, NotKept) else ""
            away.remedy = f"It may have arrived all the same: clawbus task show {task.task_id}.{more}"
            raise
        await self._event("accepted", task.task_id or "", **accepted_detail(task))
        if (note := team_note(self._company.org, task)) is not None:
            with contextlib.suppress(BusAway):
                subject = self._subjects.build("team", self.me, team=task.to)
                await self._publish(subject, note)

    async def wait(self, task_id: str, requester: str, to: str) -> End:
        """Wait for a task's end."""
        return await self.following.end(task_id, requester, to)

    async def took(self, task_id: str) -> None:
        """The person has seen a task's result: its copy in his inbox is done with. Raises BusAway."""
        await self.seen(task_id)
        await self.copies.drop({task_id})

    async def seen(self, task_id: str) -> None:
        """Say that the person has a task's result. Saying it again soon is the same message."""
        await self._event("announced", task_id, f"{self.me}-announced-{task_id}", how="answered")

    async def send(self, mail: Envelope) -> None:
        """Send a message (of `make_message`) to whom it is for. Raises Refused or BusAway.

        A message to an agent, in the thread of a blocker that it has raised, is the answer: it resolves the blocker.
        """
        thread = mail.task_id or ""
        resolves = mail.type == "message" and thread and await self._raised(thread, mail.to)
        if resolves and mail.priority in ("medium", "low"):
            mail = mail.model_copy(update={"priority": "high"})  # somebody waits for it
        await self._publish(subject_of(self._company.org, mail), mail)
        if mail.type == "blocker":
            await self._event("raised", thread, **raised_detail(mail))
        elif resolves:
            await self._event("resolved", thread, to=mail.to)

    async def _raised(self, thread: str, by: str) -> bool:
        """True if the first event of `by` under a thread says that it raised a blocker."""
        if not any(agent.id == by for agent in self._company.org.agents):
            return False
        found = await self._bus.next_message(EVENTS, self._subjects.event(thread, by))
        with contextlib.suppress(WireError):
            event = await self._bus.verifier.event(self._subjects, found) if found is not None else None
            return event is not None and event.kind == "raised"
        return False

    async def cancel(self, view: TaskView) -> tuple[bool, End]:
        """End a task as cancelled unless it has ended. Returns True if this call did, and its end. Raises BusAway."""
        if not view.requester or not view.worker:
            raise NotFound(
                f"nobody has said who gave task {view.task_id} to whom", "It ends by itself when its time is over."
            )
        task = Envelope(
            id=view.task_id, type="task", sender=view.requester, to=view.worker, task_id=view.task_id, body=view.label
        )
        won, end = await self._ends.write(cancellation(task, self.me), view.requester, view.to)
        if end.status == "cancelled":  # also when it had been before: the worker may not have been told
            for member in sorted(self._company.org.may_take(view.worker) - {self.me}):
                note = control(task, self.me, member)
                await self._bus.publish(self._subjects.ctl(member, self.me), note.encode(), msg_id=note.id)
        return won, end

    async def steer(self, view: TaskView, text: str) -> str | None:
        """Say something to a task that has not ended. Returns None if it was sent, else the reason. Raises BusAway.

        What came of it is an event `steered` of the task, from its worker's node.
        """
        check_body("TEXT", text)
        end = await self._ends.read(view.task_id, view.requester, view.to)
        if end is not None:
            return f"it had ended before: {end.status}"
        if self._company.org.members(view.worker):
            return f"nobody of {view.worker} has taken it yet"
        note = said_to(view.task_id, self.me, view.worker, text)
        await self._publish(self._subjects.ctl(view.worker, self.me), note)
        return None

    async def _event(self, kind: Kind, task_id: str, event_id: str = "", /, **detail: Value) -> None:
        event = Event(id=event_id or new_message_id(self.me), kind=kind, task_id=task_id, sender=self.me, detail=detail)
        with contextlib.suppress(BusAway):  # the task itself is safe; only the board would know less
            await self._publish(self._subjects.event(task_id, self.me), event)

    async def _publish(self, subject: str, message: Envelope | Event) -> None:
        """Three tries with the same id: it is stored once, also when an ack was lost. Raises BusAway, Refused."""
        data = message.encode()
        await retry(
            lambda: self._bus.publish(subject, data, msg_id=message.id),
            BusAway,
            _AGAIN_S,
            tries=3,
            unless=NotKept,  # not over in a moment: it is time to say so
        )
