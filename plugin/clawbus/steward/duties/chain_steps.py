"""Chains: when a task with an `on_complete` is done, the next one is given away, and its result goes to who began.

The steward gives the next task under its own name, and only along an edge of org.toml. What the first task said stands
in its event `accepted` (the task itself leaves its queue when it is done).
"""

from __future__ import annotations

import contextlib
import logging
from datetime import timedelta
from typing import Any, ClassVar, get_args

from clawbus.errors import BacklogFull, OverBudget, WireError
from clawbus.org import EXTERNAL, STEWARD, Edge
from clawbus.org.tool_bounds import delegable, meet
from clawbus.steward.duty import Duty
from clawbus.tasks.chains import edge_for, next_body
from clawbus.tasks.ends import End
from clawbus.tasks.new_task import MAX_HOPS, lifetime
from clawbus.wire.channels import EVENTS
from clawbus.wire.envelope import Envelope, OnComplete, Priority, now
from clawbus.wire.events import Event, takers_in, tools_in

log = logging.getLogger(__name__)
_AGAIN = timedelta(seconds=30)


class ChainSteps(Duty):
    """A timer of this duty is a next task that found a full queue; its key is the first task's id."""

    rule: ClassVar[str] = "chains"

    async def on_event(self, event: Event) -> None:
        """A requester whose node had died says what he has given away when the end is there already."""
        if event.kind == "accepted" and "then_to" in event.detail:
            await self._look(event)

    async def on_end(self, end: Envelope) -> None:
        said = await self.context.accepted(end.task_id or "", end.to)
        if said is not None and ("then_to" in said.detail or "chain_of" in said.detail):
            await self._look(said)

    async def on_timer(self, key: str, body: dict[str, Any]) -> None:
        if (said := await self.context.accepted(key, str(body.get("requester")))) is not None:
            await self._look(said)

    async def _look(self, said: Event) -> None:
        """A link of a chain, as its giver has announced it: has it ended, and what follows from that?"""
        end = await self.context.ends.read(said.task_id, said.sender, str(said.detail.get("to")))
        if end is None:
            return
        if said.sender == STEWARD and "chain_of" in said.detail:
            await self._forward(said, end)
        if "then_to" in said.detail and not await self._has_decided(said.task_id):
            await self._go_on(said, end)

    async def _go_on(self, said: Event, end: End) -> None:
        then = OnComplete(to=str(said.detail["then_to"]), template=str(said.detail.get("then_template", "")))
        edge = edge_for(self.context.org, str(said.detail.get("to")), then, end.by)
        why = self._why_not(said, end, then, edge)
        if edge is None or why:
            if end.status == "done":
                await self._explain(said, f"{then.to} does not take over after task {said.task_id}: {why}.")
            await self._decided(said, to=then.to, started=False, why=why)
            return
        task = self._next(said, end, edge)
        begun = said.detail if said.sender == STEWARD and "chain_of" in said.detail else {}
        first, by = begun.get("chain_of", said.task_id), begun.get("requester", said.sender)
        try:
            await self.context.give(task, chain_of=first, requester=by, after=end.by)
        except BacklogFull:
            log.info("the task after %s waits: the queue of %s is full", said.task_id, then.to)
            await self.context.at(self.rule, said.task_id, now() + _AGAIN, {"requester": said.sender})
            return
        except OverBudget as error:
            await self._explain(said, f"{then.to} does not take over after task {said.task_id}: {error}")
            await self._decided(said, to=then.to, started=False, why=error.message)
            return
        await self._decided(said, to=then.to, started=True, task=task.task_id)

    def _why_not(self, said: Event, end: End, then: OnComplete, edge: Edge | None) -> str:
        if end.status != "done":
            return f"{end.by} ended it as {end.status}"
        workers = self.context.org.may_take(str(said.detail.get("to"))) | takers_in(said)
        if end.by == said.sender or end.by not in workers:
            return f"{end.by}, who ended it, had no part in it"
        if edge is None:
            return f"org.toml names no edge from {end.by} to {then.to}"
        if said.number("hops") >= MAX_HOPS:
            return f"it has been passed on {MAX_HOPS} times"
        return ""

    def _next(self, said: Event, end: End, edge: Edge) -> Envelope:
        detail = {name: str(value) for name, value in said.detail.items()}
        guest = " (a guest who is not verified)" if said.sender == EXTERNAL else ""
        words = {
            "worker": end.by,
            "requester": said.sender,
            "task": detail.get("body", ""),
            "label": detail.get("label", ""),
        }
        text = next_body(edge, words, end.envelope.body)
        given, created = self.context.given(self.rule, said.task_id), now()
        priority: Priority = next((p for p in get_args(Priority) if p == detail.get("priority")), "medium")
        return Envelope(
            id=self.context.message_id(given["task_id"]),
            type="task",
            sender=STEWARD,
            to=edge.to,
            task_id=given["task_id"],
            seed=given["seed"],
            takers=self.context.org.members(edge.to) or None,
            trace_id=detail.get("trace_id") or said.task_id,
            parent=said.task_id,
            path=(*detail.get("path", "").split(), said.sender),
            hops=said.number("hops") + 1,
            subject=f"after {end.by}: {detail.get('label', '')}"[:200],
            body=f"Given on behalf of {said.sender}{guest}, after task {said.task_id} of {end.by}.\n\n{text}",
            priority=priority,
            created_at=created,
            expires_at=created + lifetime(self.context.org),
            run_timeout_s=self.context.org.policies.run_deadline_s,
            on_complete=OnComplete(to=edge.then) if edge.then else None,
            tools=meet(tools_in(said), delegable(self.context.org, said.sender)),
        )

    async def _forward(self, said: Event, end: End) -> None:
        """The result of a next task goes to who gave the first one, whose ledger knows that one."""
        first, requester = str(said.detail["chain_of"]), str(said.detail["requester"])
        if not self._is_member(requester):
            return
        took = f"{end.by} took over after {said.detail.get('after')}, who had done task {first}"
        if by := said.detail.get("again_by"):
            took = f"{by} has had it tried again: task {first} had become a dead letter. {end.by} got it"
        if gone := said.detail.get("left"):
            took = f"{gone} has left the company, and its task {first} was given to {end.by}"
        result = end.envelope.model_copy(
            update={
                "id": self.context.message_id(said.task_id, "result"),
                "sender": STEWARD,
                "to": requester,
                "task_id": said.task_id,
                "parent": first,
                "body": f"{took}. It ended as {end.status}:\n\n{end.envelope.body}",
            }
        )
        await self.context.publish(self.context.subjects.dm(requester, STEWARD), result)
        await self.context.event("announced", said.task_id, cause=(said.task_id, "result"), how="handed on")

    async def _explain(self, said: Event, why: str) -> None:
        """Who waits for a next task that does not come is told why: who began the chain. For a guest people hear it."""
        is_link = said.sender == STEWARD and "chain_of" in said.detail
        waits = str(said.detail["requester"]) if is_link else said.sender
        cause, subject = (self.rule, said.task_id), "a chain has ended early"
        for one in (waits,) if self._is_member(waits) else self.context.org.alerted:
            await self.context.tell(one, why, cause=cause, subject=subject, parent=said.task_id)

    async def _decided(self, said: Event, **detail: Any) -> None:
        """The event `chained` of the first task: what is decided is not decided again."""
        await self.context.event("chained", said.task_id, cause=(self.rule, said.task_id), **detail)

    async def _has_decided(self, task_id: str) -> bool:
        pattern = self.context.subjects.event(task_id, STEWARD)
        for stored in await self.context.bus.stored_singly(EVENTS, pattern):
            with contextlib.suppress(WireError):
                if (await self.context.bus.verifier.event(self.context.subjects, stored)).kind == "chained":
                    return True
        return False

    def _is_member(self, name: str) -> bool:
        return name in self.context.org.people or any(agent.id == name for agent in self.context.org.agents)
