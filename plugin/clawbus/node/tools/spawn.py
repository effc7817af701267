"""`nats_spawn` and `nats_request`: tasks for others, with their results announced later or waited for."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from clawbus.errors import Refused
from clawbus.node.mailbox import Announcer
from clawbus.node.prompts import frames
from clawbus.node.prompts.untrusted import harmless
from clawbus.node.requester import Requester
from clawbus.node.tools.answer import Answer, Caller, where
from clawbus.node.tools.file_tools import FileTools
from clawbus.node.tools.params import NatsRequest, NatsSpawn
from clawbus.org import Org
from clawbus.tasks import NewTask
from clawbus.tasks.roster import Roster
from clawbus.wire.envelope import Artifact, Envelope, OnComplete

MAX_WAITING_REQUESTS = 3
"""A waiting request holds one of the gateway's eight turns; two gateways that wait for each other would both stop."""


class SpawnTools:
    """Tasks that whoever calls gives to an agent, a team or a pool."""

    def __init__(
        self, org: Org, announcer: Announcer, requester: Requester, roster: Roster, file_tools: FileTools
    ) -> None:
        self._org = org
        self._announcer = announcer
        self._requester = requester
        self._roster = roster
        self._file_tools = file_tools
        self._waiting = 0

    async def spawn(self, caller: Caller, asked: NatsSpawn) -> Answer:
        files = await self._file_tools.put(caller, asked.artifacts)
        if asked.tasks:
            return await self._spawn_all(caller, asked, files)
        new = replace(_new(asked), artifacts=files)
        task, on_bus = await self._requester.submit(caller.agent, caller.session_key, new, "spawn")
        return Answer(
            True,
            f"{self._accepted(on_bus, task)} Its result will be announced into this session: go on, and do not poll.",
            {"taskId": task.task_id, "state": "accepted" if on_bus else "waiting_for_bus"},
        )

    async def _spawn_all(self, caller: Caller, asked: NatsSpawn, files: tuple[Artifact, ...]) -> Answer:
        news = [
            replace(_new(asked, part.agent_id, part.task, part.label), artifacts=files) for part in asked.tasks or ()
        ]
        given = await self._requester.submit_all(caller.agent, caller.session_key, news)
        lines, ids = [], []
        for task, sent in given:
            if isinstance(sent, Refused):
                lines.append(f"- not given to {task.to}: {sent}")
                continue
            ids.append(task.task_id or "")
            label = f" ({harmless(task.subject, lines=False)})" if task.subject else ""
            lines.append(f"- {self._accepted(sent, task, label)}")
        if ids:
            self._announcer.due(ids[0])  # should all that were accepted have ended before the last was refused
            lines.append("Their results will be announced together into this session, once, when all have ended.")
        return Answer(bool(ids), "\n".join(lines), {"taskIds": ids, "refused": len(given) - len(ids)})

    def _accepted(self, on_bus: bool, task: Envelope, label: str = "") -> str:
        """Says where a task is now, whose it is, and if its receiver is online."""
        said = f"{where(on_bus, 'accepted', self._requester.away)}: task {task.task_id} for {task.to}{label}."
        if any(self._roster.online(agent) for agent in self._org.takers(task.to)):
            return said
        return f"{said} {task.to} is not online now; the task waits for it."

    async def request(self, caller: Caller, asked: NatsRequest) -> Answer:
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
            async with asyncio.timeout(asked.timeout_seconds):
                result = await waiter
            files = await self._file_tools.received(caller, result)
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
        text = frames.result(result, asked.label or "", task.created_at, 0) + files

        async def handed_over(arrived: bool) -> None:
            if arrived:
                await self._announcer.answered(task_id)
            else:
                self._announcer.due(task_id)

        return Answer(result.status == "done", text, {"taskId": task_id, "state": result.status}, handed_over)


def _new(asked: NatsSpawn, to: str | None = None, body: str | None = None, label: str | None = None) -> NewTask:
    """A task as the model has said it; one of several has its own receiver, text and label."""
    return NewTask(
        to or asked.agent_id or "",
        body or asked.task or "",
        label or asked.label or "",
        asked.priority,
        asked.run_timeout_seconds,
        asked.deadline_minutes,
        then=OnComplete(to=asked.on_complete) if asked.on_complete else None,
        tools=asked.tools_allow,
        needs_approval=bool(asked.needs_approval),
    )
