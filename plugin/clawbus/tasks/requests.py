"""Giving a task away, and taking it back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from clawbus.bus import End, Ends
from clawbus.envelope import Envelope, Priority, check_body, check_label, now
from clawbus.errors import InvalidInput, NotFound, Refused
from clawbus.ledger import Ledger, Sent
from clawbus.mailbox import Outbox
from clawbus.org import Org
from clawbus.subjects import Subjects, check_task_id, new_message_id, new_task_id

TASK_LIFE = timedelta(hours=71)  # an hour less than the stream keeps it: its end is written before it vanishes
MAX_HOPS = 8


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task as its requester says it."""

    to: str
    body: str
    label: str = ""
    priority: Priority = "medium"
    run_timeout_s: int | None = None


def make_task(org: Org, sender: str, new: NewTask, parent: Envelope | None = None) -> Envelope:
    """Check a task and put it into its envelope, before anything is sent.

    Raises InvalidInput, NotFound (no such agent) or Refused (a circle, too many hops).
    """
    org.agent(new.to, "agentId")
    check_body("task", new.body)
    check_label("label", new.label)
    if new.to == sender:
        raise InvalidInput("agentId", new.to, "that is you", "Use your own sessions_spawn for a sub-agent of yours.")
    path = (*parent.path, parent.sender) if parent else ()
    if new.to in path:
        raise Refused(
            f"{new.to} is already waiting in this chain: {' -> '.join([*path, sender])}",
            "Answer with what you have, or say what is missing in your final reply.",
        )
    hops = parent.hops + 1 if parent else 0
    if hops > MAX_HOPS:
        raise Refused(
            f"the task has been passed on {hops - 1} times; {MAX_HOPS} is the limit",
            "Do it yourself, or report.",
        )
    task_id, created = new_task_id(), now()
    return Envelope(
        id=new_message_id(sender),
        type="task",
        sender=sender,
        to=new.to,
        task_id=task_id,
        trace_id=(parent.trace_id if parent and parent.trace_id else task_id),
        parent=parent.task_id if parent else None,
        path=path,
        hops=hops,
        subject=new.label,
        body=new.body,
        priority=new.priority,
        created_at=created,
        expires_at=created + TASK_LIFE,
        run_timeout_s=new.run_timeout_s or org.policies.run_deadline_s,
    )


class Requester:
    """What the agents of one gateway do with tasks that they give away."""

    def __init__(self, org: Org, subjects: Subjects, ledger: Ledger, outbox: Outbox, ends: Ends) -> None:
        self._org = org
        self._subjects = subjects
        self._ledger = ledger
        self._outbox = outbox
        self._ends = ends

    async def submit(self, sender: str, session_key: str, new: NewTask, kind: str) -> tuple[Envelope, bool]:
        """Give a task away. Returns its envelope, and False if it waits here for the bus.

        Raises InvalidInput, NotFound, Refused, BacklogFull: then nothing was sent and nothing is kept.
        """
        task = make_task(self._org, sender, new, self._parent(session_key))
        with self._ledger.together():
            self._ledger.sent.add(task, session_key, kind)
            out = self._outbox.keep(self._subjects.task(task.to, task.priority, sender), task)
        try:
            on_bus = await self._outbox.send_kept(out)
        except Refused:
            self._ledger.sent.forget(task.task_id or "")
            raise
        self._outbox.event(
            "accepted",
            task.task_id or "",
            sender,
            to=task.to,
            label=task.subject,
            priority=task.priority,
            parent=task.parent,
        )
        return task, on_bus

    def _parent(self, session_key: str) -> Envelope | None:
        """The task that this session works on, if its key says so and the ledger knows it."""
        parts = session_key.split(":")
        if len(parts) < 4 or parts[2] != "nats":
            return None
        run = self._ledger.runs.get(parts[3])
        return run.task if run is not None and run.session_key == session_key else None

    def mine(self, agent: str, task_id: str) -> Sent:
        """A task that this agent gave away. Raises NotFound for any other."""
        check_task_id("taskIds", task_id)
        sent = self._ledger.sent.get(task_id)
        if sent is None or sent.task.sender != agent:
            raise NotFound(f"you gave no task {task_id} away", "List yours with nats_tasks, action list.")
        return sent

    async def cancel(self, sent: Sent) -> tuple[bool, End]:
        """End a task as cancelled, unless it has ended. Returns whether this cancelled it, and its one end.

        The worker is told on the control channel, which only says "look at the end of this task".
        Raises BusAway.
        """
        task, me = sent.task, sent.task.sender
        won, end = await self._ends.write(cancellation(task, me), me, task.to)
        if end.status == "cancelled":  # also when it had been before: the first time may have been cut short here
            with self._ledger.together():
                self._ledger.sent.took_result(sent.task_id, end.envelope)
                self._ledger.sent.settled(sent.task_id, "answered")
                note = control(task, me)
                self._outbox.later(self._subjects.ctl(task.to, me), note.id, note.encode())
        return won, end

    async def expire(self, sent: Sent) -> None:
        """End a task whose time is over as timed out, and keep its end as the result. Raises BusAway."""
        task, me = sent.task, sent.task.sender
        late = Envelope(
            id=new_message_id(me),
            type="result",
            sender=me,
            to=me,
            task_id=sent.task_id,
            status="timed_out",
            subject=task.subject,
            body=f"{task.to} did not take it before it expired",
        )
        _, end = await self._ends.write(late, me, task.to)
        self._ledger.sent.took_result(sent.task_id, end.envelope)
        note = control(task, me)
        self._outbox.later(self._subjects.ctl(task.to, me), note.id, note.encode())

    async def end_of(self, sent: Sent) -> End | None:
        """The end of a task, None while it has none. Raises BusAway."""
        return await self._ends.read(sent.task_id, sent.task.sender, sent.task.to)


def cancellation(task: Envelope, by: str) -> Envelope:
    """The end that a requester or a person writes to take a task back."""
    return Envelope(
        id=new_message_id(by),
        type="result",
        sender=by,
        to=task.sender,
        task_id=task.task_id,
        trace_id=task.trace_id,
        status="cancelled",
        subject=task.subject,
        body=f"cancelled by {by}",
    )


def control(task: Envelope, by: str) -> Envelope:
    """The nudge to the worker of a task that was cancelled."""
    return Envelope(id=new_message_id(by), type="control", sender=by, to=task.to, task_id=task.task_id, body="cancel")
