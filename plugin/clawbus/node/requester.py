"""Giving tasks away, taking them back, saying something to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from clawbus.errors import BacklogFull, ClawbusError, NotFound, Refused
from clawbus.node.circuit_breaker import CircuitBreaker
from clawbus.node.ledger import Ledger, Outgoing, Sent, SentKind
from clawbus.node.mailbox import Outbox, RateLimits
from clawbus.node.signals import NodeSignals
from clawbus.org import Org
from clawbus.tasks.board import TaskView
from clawbus.tasks.ends import End, Ends
from clawbus.tasks.new_task import NewTask, cancellation, control, make_task, said_to, team_note
from clawbus.wire.envelope import Envelope
from clawbus.wire.events import accepted_detail
from clawbus.wire.subjects import Subjects, check_task_id, new_message_id, new_task_id


class Requester:
    """Gives, cancels, expires and steers the tasks that the agents of one gateway give away."""

    def __init__(
        self,
        org: Org,
        ledger: Ledger,
        outbox: Outbox,
        ends: Ends,
        is_unwell: Callable[[str], bool],
        signals: NodeSignals,
    ) -> None:
        self._org = org
        self._subjects = Subjects(org.company)
        self._ledger = ledger
        self._outbox = outbox
        self._ends = ends
        self.breaker = CircuitBreaker(org, ledger, outbox, is_unwell)
        self._signals = signals
        self._steers = RateLimits(org.policies.quota)
        signals.result.connect(self.breaker.on_result)
        outbox.on_sent.append(self._accepted)
        outbox.on_refused.append(self._never_sent)

    @property
    def away(self) -> str:
        """Why what was given last waits here for the bus, in a clause."""
        return self._outbox.away

    async def submit(self, sender: str, session_key: str, new: NewTask, kind: SentKind) -> tuple[Envelope, bool]:
        """Give a task away. Returns its envelope, and False if it waits here for the bus.

        Raises InvalidInput, NotFound, Refused, BacklogFull: then nothing was sent and nothing is kept.
        """
        self._check(sender, [new])
        task = make_task(self._org, sender, new, self._ledger.cause(session_key))
        (sent,) = await self._give([task], session_key, kind)
        if isinstance(sent, Refused):
            raise sent
        return task, sent

    async def submit_all(
        self, sender: str, session_key: str, news: Sequence[NewTask]
    ) -> list[tuple[Envelope, bool | Refused]]:
        """Give several tasks away as one group, whose results are announced together; each as `submit`, or its refusal.

        Raises InvalidInput, NotFound or Refused for the first that must not be given: then none was.
        """
        cause = self._ledger.cause(session_key)
        self._check(sender, news)
        tasks = [make_task(self._org, sender, new, cause) for new in news]
        fitting = self._fitting(sender, tasks)
        sent = iter(await self._give(fitting, session_key, "spawn", new_task_id()))
        return [(task, next(sent) if task in fitting else self._full(task.to)) for task in tasks]

    def _fitting(self, sender: str, tasks: list[Envelope]) -> list[Envelope]:
        """Of a group the first ones, up to the quota of each receiver."""
        given: Counter[str] = Counter()
        fitting = []
        for task in tasks:
            given[task.to] += 1
            if self._ledger.sent.open_count(sender, task.to) + given[task.to] <= self._org.policies.quota:
                fitting.append(task)
        return fitting

    def _check(self, sender: str, news: Sequence[NewTask]) -> None:
        """The breaker and the quota of each receiver, whatever the priorities. Raises Refused, BacklogFull."""
        for to, count in sorted(Counter(new.to for new in news).items()):
            self.breaker.check(sender, to, count)
            if self._ledger.sent.open_count(sender, to) >= self._org.policies.quota:
                raise self._full(to)

    def _full(self, to: str) -> BacklogFull:
        full = BacklogFull("")
        full.count(self._org.policies.quota, to)
        return full

    async def _give(
        self, tasks: list[Envelope], session_key: str, kind: SentKind, group_id: str | None = None
    ) -> list[bool | Refused]:
        """All into the ledger first, in one commit: a crash leaves no half of a group behind. Then onto the bus."""
        with self._ledger.together():
            for task in tasks:
                self.breaker.goes(task.sender, task.to)
                self._ledger.sent.add(task, session_key, kind, group_id)
            outs = [self._outbox.keep(self._subjects.task(task.to, task.priority, task.sender), task) for task in tasks]
        found: list[bool | Refused] = []
        for task, out in zip(tasks, outs, strict=True):
            try:
                found.append(await self._outbox.send_kept(out))
            except Refused as refusal:
                self._ledger.sent.forget(task.task_id or "")
                self.breaker.went_not(task.sender, task.to)
                if isinstance(refusal, BacklogFull):
                    refusal.count(self._org.policies.quota, task.to, task.priority)
                found.append(refusal)
        return found

    def _accepted(self, out: Outgoing) -> None:
        """The server has a task: its followers (the board, deadlines, chains) hear so, whatever dies right after."""
        if b'"type":"task"' not in out.data:
            return
        task = Envelope.model_validate_json(out.data)
        self._outbox.event("accepted", task.task_id or "", task.sender, **accepted_detail(task))
        if (note := team_note(self._org, task)) is not None:
            self._outbox.later(self._subjects.build("team", task.sender, team=task.to), note.id, note.encode())

    def _never_sent(self, out: Outgoing, error: ClawbusError) -> None:
        """The server has refused a task that had waited here for the bus: its session hears of it."""
        task = Envelope.model_validate_json(out.data) if b'"type":"task"' in out.data else None
        if task is None or task.task_id is None:
            return
        result = Envelope(
            id=new_message_id(task.sender),
            type="result",
            sender=task.sender,
            to=task.sender,
            task_id=task.task_id,
            status="failed",
            subject=task.subject,
            body=f"the task was never sent: {error.message}",
        )
        if self._ledger.sent.took_result(task.task_id, result):
            self._signals.ended(task.task_id)

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
                self._nudge(task, me)
            self._signals.ended(sent.task_id)  # others of its group may have waited for it
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
        self._nudge(task, me)
        self._signals.ended(sent.task_id)

    def _nudge(self, task: Envelope, me: str) -> None:
        """Tell the worker to look at the end of a task; of a group all members, for any of them may have it."""
        for member in sorted(self._org.may_take(task.to) - {me}):
            note = control(task, me, member)
            self._outbox.later(self._subjects.ctl(member, me), note.id, note.encode())

    async def steer(self, sent: Sent, worker: str, text: str) -> bool:
        """Say something to a task that `worker` has, or will have. False if it waits here for the bus.

        The worker's node hands it on and says in an event `steered` what came of it. Raises Refused, and BacklogFull
        for more than policies.quota of them in a minute: a control queue that is full would stop cancels, too.
        """
        self._steers.check("words to tasks", sent.task.sender, worker)
        note = said_to(sent.task_id, sent.task.sender, worker, text)
        return await self._outbox.send(self._subjects.ctl(worker, note.sender), note)

    def worker_of(self, sent: Sent, view: TaskView | None) -> str | None:
        """The agent that has a task, or will have it; None while no member of its group has taken it."""
        taken = view is not None and view.worker in self._org.may_take(sent.task.to)
        worker = view.worker if view is not None and taken else sent.task.to
        return None if self._org.members(worker) else worker

    async def end_of(self, sent: Sent) -> End | None:
        """The end of a task, None while it has none. Raises BusAway."""
        return await self._ends.read(sent.task_id, sent.task.sender, sent.task.to)
