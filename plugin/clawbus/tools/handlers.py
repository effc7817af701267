"""What the six tools do. Each answers in words that a model acts on: what happened, and what to do next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from clawbus import frames
from clawbus.envelope import Envelope
from clawbus.errors import ClawbusError, Refused
from clawbus.ledger import Ledger
from clawbus.mailbox import Announcer, Outbox, Reader
from clawbus.org import Org
from clawbus.subjects import Subjects, new_message_id
from clawbus.tasks import History, NewTask, Requester
from clawbus.tools.calls import Answer, Caller
from clawbus.tools.following import TasksTool
from clawbus.tools.models import NatsInbox, NatsOrg, NatsPub, NatsRequest, NatsSpawn, NatsTasks, Params, parse
from clawbus.tools.reading import InboxTool
from clawbus.tools.roster import Roster

MAX_WAITING_REQUESTS = 3
"""A waiting request holds one of the gateway's eight turns; two gateways that wait for each other would both stop."""


class Tools:
    """The tools of one gateway's agents."""

    def __init__(
        self,
        org: Org,
        ledger: Ledger,
        outbox: Outbox,
        reader: Reader,
        announcer: Announcer,
        requester: Requester,
        history: History,
        roster: Roster,
    ) -> None:
        self._org = org
        self._subjects = Subjects(org.company)
        self._ledger = ledger
        self._outbox = outbox
        self._announcer = announcer
        self._requester = requester
        self._roster = roster
        self._waiting = 0
        self._doers: dict[type[Params], Callable[[Caller, Any], Awaitable[Answer]]] = {
            NatsPub: self._pub,
            NatsRequest: self._request,
            NatsInbox: InboxTool(self._subjects, ledger, outbox, reader).inbox,
            NatsSpawn: self._spawn,
            NatsTasks: TasksTool(ledger, requester, history).tasks,
            NatsOrg: self._who,
        }

    async def call(self, caller: Caller, tool: str, params: object) -> Answer:
        """Check the parameters, do it, and add how much mail is unread. Never raises a ClawbusError."""
        try:
            asked = parse(tool, params)
            answer = await self._doers[type(asked)](caller, asked)
        except ClawbusError as error:
            return Answer(False, str(error), {"error": type(error).__name__})
        unread = self._ledger.mail.unread(caller.agent)
        if unread and not isinstance(asked, NatsInbox):
            return replace(answer, text=f"{answer.text}\n(You have {unread} unread in nats_inbox.)")
        return answer

    async def _pub(self, caller: Caller, asked: NatsPub) -> Answer:
        if asked.to not in self._org.people:
            self._org.agent(asked.to, "to")
        mail = Envelope(
            id=new_message_id(caller.agent),
            type=asked.type,
            sender=caller.agent,
            to=asked.to,
            task_id=asked.task_id,
            subject=asked.subject or "",
            body=asked.message,
            priority=asked.priority,
        )
        on_bus = await self._outbox.send(self._subjects.dm(asked.to, caller.agent), mail)
        return Answer(True, f"{_where(on_bus, 'sent')}: message {mail.id} to {asked.to}.", {"messageId": mail.id})

    async def _spawn(self, caller: Caller, asked: NatsSpawn) -> Answer:
        new = NewTask(asked.agent_id, asked.task, asked.label or "", asked.priority, asked.run_timeout_seconds)
        task, on_bus = await self._requester.submit(caller.agent, caller.session_key, new, "spawn")
        away = "" if self._roster.online(task.to) else f" {task.to} is not online now; the task waits for it."
        return Answer(
            True,
            f"{_where(on_bus, 'accepted')}: task {task.task_id} for {task.to}.{away} Its result will be "
            "announced into this session: go on, and do not poll.",
            {"taskId": task.task_id, "state": "accepted" if on_bus else "waiting_for_bus"},
        )

    async def _request(self, caller: Caller, asked: NatsRequest) -> Answer:
        new = NewTask(asked.agent_id, asked.task, asked.label or "", "high", asked.run_timeout_seconds)
        if self._waiting >= MAX_WAITING_REQUESTS:
            raise Refused(
                f"{self._waiting} requests of this gateway are waiting already; nothing was sent",
                "Use nats_spawn: it does not wait.",
            )
        self._waiting += 1
        task_id = ""
        try:
            task, _ = await self._requester.submit(caller.agent, caller.session_key, new, "request")
            task_id = task.task_id or ""
            waiter = self._announcer.waiters[task_id] = asyncio.get_running_loop().create_future()
            result = await asyncio.wait_for(waiter, asked.timeout_seconds)
            del self._announcer.waiters[task_id]  # from here `handed_over` says what becomes of the result
        except TimeoutError:
            return Answer(
                True,
                f"pending: task {task_id} at {asked.agent_id} has not ended after {asked.timeout_seconds} s. "
                "It goes on, and its answer will be announced into this session. Do not ask again.",
                {"taskId": task_id, "state": "pending"},
            )
        finally:
            self._waiting -= 1
            if self._announcer.waiters.pop(task_id, None) is not None:
                self._announcer.due(task_id)  # a result that came as the wait ended is announced instead
        text = frames.result(result, asked.label or "", task.created_at, 0)

        async def handed_over(arrived: bool) -> None:
            if arrived:
                await self._announcer.answered(task_id)
            else:
                self._announcer.due(task_id)

        return Answer(result.status == "done", text, {"taskId": task_id, "state": result.status}, handed_over)

    async def _who(self, caller: Caller, asked: NatsOrg) -> Answer:
        found = [
            agent
            for agent in self._org.agents
            if (asked.agent_id or agent.id) == agent.id
            and (asked.role or agent.role) == agent.role
            and (asked.team or agent.team) == agent.team
            and (asked.online is None or asked.online == self._roster.online(agent.id))
        ]
        lines = [
            f"{agent.id}{' (you)' if agent.id == caller.agent else ''}: {agent.role}, team {agent.team}, reports to "
            f"{agent.reports_to or 'nobody'}, {'online' if self._roster.online(agent.id) else 'offline'}"
            + (f"; {agent.specialization}" if agent.specialization else "")
            for agent in found
        ]
        data = [{"id": a.id, "role": a.role, "team": a.team, "online": self._roster.online(a.id)} for a in found]
        return Answer(
            True,
            "\n".join(lines) or "Nobody fits. Call it without filters to see everyone.",
            {"agents": data},
        )


def _where(on_bus: bool, word: str) -> str:
    return word if on_bus else f"{word} here; the bus is away, and it goes out by itself when the bus is back"
