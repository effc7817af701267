"""A task from a person: no model in the middle, no node needed on this side. The CLI stands on it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from clawbus.bus import INBOX, Bus, End, Ends, fetch_now, person_reader
from clawbus.company import Company
from clawbus.envelope import Envelope, Type, check_body, check_label, decode
from clawbus.errors import BusAway, NotFound, WireError
from clawbus.events import Event, Kind
from clawbus.org import Org
from clawbus.subjects import new_message_id
from clawbus.tasks import TaskView
from clawbus.tasks.requests import cancellation, control

_LOOK_EVERY_S = 2.0
_COPY_TRIES = 15


def make_message(org: Org, me: str, to: str, text: str, kind: Type, subject: str) -> Envelope:
    """Check a message and put it into its envelope, before anything is sent. Raises InvalidInput or NotFound."""
    if to not in org.people:
        org.agent(to, "AGENT")
    check_body("TEXT", text)
    check_label("--subject", subject)
    return Envelope(id=new_message_id(me), type=kind, sender=me, to=to, subject=subject, body=text)


class Person:
    """What a person of the company does on the bus, over one connection."""

    def __init__(self, company: Company, bus: Bus, me: str) -> None:
        self._company = company
        self._bus = bus
        self._subjects = company.subjects
        self._ends = Ends(bus, company.subjects, company.may_end)
        self.me = me

    async def give(self, task: Envelope) -> None:
        """Give a task (of `make_task`) to an agent; when this returns, the server has it on disk.

        Raises BacklogFull, Refused or BusAway: then say it again.
        """
        subject = self._subjects.task(task.to, task.priority, self.me)
        for last in (False, False, True):  # the same id each time: it is stored once, also when an ack was lost
            try:
                await self._bus.publish(subject, task.encode(), msg_id=task.id)
                break
            except BusAway as away:
                if last:
                    away.remedy = f"It may have arrived all the same: clawbus task show {task.task_id}"
                    raise
                await asyncio.sleep(0.5)
        await self._event("accepted", task.task_id or "", to=task.to, label=task.subject, priority=task.priority)

    async def wait(self, task_id: str, requester: str, worker: str) -> End:
        """Wait for a task's end: told of it at once, and looking every two seconds in case the telling was lost."""
        async with self._told(task_id) as told:
            while True:
                with contextlib.suppress(BusAway):
                    if (end := await self._ends.read(task_id, requester, worker)) is not None:
                        return end
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(told.wait(), _LOOK_EVERY_S)
                told.clear()

    @contextlib.asynccontextmanager
    async def _told(self, task_id: str) -> AsyncIterator[asyncio.Event]:
        told = asyncio.Event()
        stop = await self._bus.listen(self._subjects.ends_of(task_id), lambda _: told.set())
        try:
            yield told
        finally:
            await stop()

    async def took(self, task_id: str) -> None:
        """The person has seen a task's result: its copy in his inbox is done with."""
        await self._event("announced", task_id, how="answered")
        for _ in range(_COPY_TRIES):  # the worker sends the copy right after the end
            if await self._drop_copy(task_id):
                return
            await asyncio.sleep(0.1)

    async def _drop_copy(self, task_id: str) -> bool:
        found = False
        for delivery in await fetch_now(self._bus, INBOX, person_reader(self.me), 256):
            if self._about(delivery.data, delivery.subject) == task_id:
                await self._bus.ack(delivery.ack_subject)
                found = True
            else:
                await self._bus.nak(delivery.ack_subject)
        return found

    def _about(self, data: bytes, subject: str) -> str | None:
        with contextlib.suppress(WireError):
            envelope = decode(data, self._subjects.parse(subject).sender)
            return envelope.task_id if envelope.type == "result" else None
        return None

    async def send(self, mail: Envelope) -> None:
        """Put a message (of `make_message`) into its inbox. Raises Refused or BusAway."""
        await self._bus.publish(self._subjects.dm(mail.to, self.me), mail.encode(), msg_id=mail.id)

    async def cancel(self, view: TaskView) -> tuple[bool, End]:
        """End a task as cancelled unless it has ended: whether this did it, and its one end. Raises BusAway."""
        if not view.requester or not view.worker:
            raise NotFound(
                f"nobody has said who gave task {view.task_id} to whom", "It ends by itself when its time is over."
            )
        task = Envelope(
            id=view.task_id, type="task", sender=view.requester, to=view.worker, task_id=view.task_id, body=view.label
        )
        won, end = await self._ends.write(cancellation(task, self.me), view.requester, view.worker)
        if end.status == "cancelled":  # also when it had been before: the worker may not have been told
            note = control(task, self.me)
            await self._bus.publish(self._subjects.ctl(view.worker, self.me), note.encode(), msg_id=note.id)
        return won, end

    async def _event(self, kind: Kind, task_id: str, **detail: str) -> None:
        event = Event(id=new_message_id(self.me), kind=kind, task_id=task_id, sender=self.me, detail=dict(detail))
        with contextlib.suppress(BusAway):  # the task itself is safe; only the board would know less
            await self._bus.publish(self._subjects.event(task_id, self.me), event.encode(), msg_id=event.id)
