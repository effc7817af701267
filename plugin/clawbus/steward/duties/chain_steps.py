"""Chain steps: when a task with an `on_complete` is done, the steward gives the next task of the chain.

It gives it under its own name, and only along an edge of org.toml. Its result goes to the requester of the first task.
The first task has left its queue by then; its event `accepted` holds what the next one needs.
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
    """A timer of this duty is a next task whose queue was full. Its key is the id of the task before."""

    rule: ClassVar[str] = "chains"

    async def on_event(self, event: Event) -> None:
        # A requester whose node had died may publish `accepted` when the end is there already.
        if event.kind == "accepted" and "then_to" in event.detail:
            await self._look(event)

    async def on_end(self, end: Envelope) -> None:
        given = await self.context.accepted(end.task_id or "", end.to)
        if given is not None and ("then_to" in given.detail or "chain_of" in given.detail):
            await self._look(given)

    async def on_timer(self, key: str, body: dict[str, Any]) -> None:
        if (given := await self.context.accepted(key, str(body.get("requester")))) is not None:
            await self._look(given)

    # In all of these, `given` is the event `accepted` of a task of the chain, as its requester has published it.

    async def _look(self, given: Event) -> None:
        """Do what follows if the task has ended."""
        end = await self.context.ends.read(given.task_id, given.sender, str(given.detail.get("to")))
        if end is None:
            return
        if given.sender == STEWARD and "chain_of" in given.detail:
            await self._forward(given, end)
        if "then_to" in given.detail and not await self._has_decided(given.task_id):
            await self._go_on(given, end)

    async def _go_on(self, given: Event, end: End) -> None:
        then = OnComplete(to=str(given.detail["then_to"]), template=str(given.detail.get("then_template", "")))
        edge = edge_for(self.context.org, str(given.detail.get("to")), then, end.by)
        why = self._refusal(given, end, then, edge)
        if edge is None or why:
            if end.status == "done":
                await self._explain(given, f"{then.to} does not take over after task {given.task_id}: {why}.")
            await self._decide(given, to=then.to, started=False, why=why)
            return
        task = self._next(given, end, edge)
        begun = given.detail if given.sender == STEWARD and "chain_of" in given.detail else {}
        first, by = begun.get("chain_of", given.task_id), begun.get("requester", given.sender)
        try:
            await self.context.give(task, chain_of=first, requester=by, after=end.by)
        except BacklogFull:
            log.info("the task after %s waits: the queue of %s is full", given.task_id, then.to)
            await self.context.at(self.rule, given.task_id, now() + _AGAIN, {"requester": given.sender})
            return
        except OverBudget as error:
            await self._explain(given, f"{then.to} does not take over after task {given.task_id}: {error}")
            await self._decide(given, to=then.to, started=False, why=error.message)
            return
        await self._decide(given, to=then.to, started=True, task=task.task_id)

    def _refusal(self, given: Event, end: End, then: OnComplete, edge: Edge | None) -> str:
        """The reason why no next task is given; empty if one is."""
        if end.status != "done":
            return f"{end.by} ended it as {end.status}"
        workers = self.context.org.may_take(str(given.detail.get("to"))) | takers_in(given)
        if end.by == given.sender or end.by not in workers:
            return f"{end.by}, who ended it, had no part in it"
        if edge is None:
            return f"org.toml names no edge from {end.by} to {then.to}"
        if given.number("hops") >= MAX_HOPS:
            return f"it has been passed on {MAX_HOPS} times"
        return ""

    def _next(self, given: Event, end: End, edge: Edge) -> Envelope:
        detail = {name: str(value) for name, value in given.detail.items()}
        guest = " (a guest who is not verified)" if given.sender == EXTERNAL else ""
        words = {
            "worker": end.by,
            "requester": given.sender,
            "task": detail.get("body", ""),
            "label": detail.get("label", ""),
        }
        text = next_body(edge, words, end.envelope.body)
        ids, created = self.context.given(self.rule, given.task_id), now()
        priority: Priority = next((p for p in get_args(Priority) if p == detail.get("priority")), "medium")
        return Envelope(
            id=self.context.message_id(ids["task_id"]),
            type="task",
            sender=STEWARD,
            to=edge.to,
            task_id=ids["task_id"],
            seed=ids["seed"],
            takers=self.context.org.members(edge.to) or None,
            trace_id=detail.get("trace_id") or given.task_id,
            parent=given.task_id,
            path=(*detail.get("path", "").split(), given.sender),
            hops=given.number("hops") + 1,
            subject=f"after {end.by}: {detail.get('label', '')}"[:200],
            body=f"Given on behalf of {given.sender}{guest}, after task {given.task_id} of {end.by}.\n\n{text}",
            priority=priority,
            created_at=created,
            expires_at=created + lifetime(self.context.org),
            run_timeout_s=self.context.org.policies.run_deadline_s,
            on_complete=OnComplete(to=edge.then) if edge.then else None,
            tools=meet(tools_in(given), delegable(self.context.org, given.sender)),
        )

    async def _forward(self, given: Event, end: End) -> None:
        """Send the result of a next task to the requester of the first one."""
        first, requester = str(given.detail["chain_of"]), str(given.detail["requester"])
        if not self._is_member(requester):
            return
        cause = f"{end.by} took over after {given.detail.get('after')}, who had done task {first}"
        if by := given.detail.get("again_by"):
            cause = f"{by} has had it tried again: task {first} had become a dead letter. {end.by} got it"
        if gone := given.detail.get("left"):
            cause = f"{gone} has left the company, and its task {first} was given to {end.by}"
        result = end.envelope.model_copy(
            update={
                "id": self.context.message_id(given.task_id, "result"),
                "sender": STEWARD,
                "to": requester,
                "task_id": given.task_id,
                "parent": first,  # the requester's ledger knows the first task
                "body": f"{cause}. It ended as {end.status}:\n\n{end.envelope.body}",
            }
        )
        await self.context.publish(self.context.subjects.dm(requester, STEWARD), result)
        await self.context.event("announced", given.task_id, cause=(given.task_id, "result"), how="handed on")

    async def _explain(self, given: Event, why: str) -> None:
        """Tell the requester of the first task why no next task comes; for a guest, tell the people of [alerts]."""
        is_link = given.sender == STEWARD and "chain_of" in given.detail
        requester = str(given.detail["requester"]) if is_link else given.sender
        cause, subject = (self.rule, given.task_id), "a chain has ended early"
        for receiver in (requester,) if self._is_member(requester) else self.context.org.alerted:
            await self.context.tell(receiver, why, cause=cause, subject=subject, parent=given.task_id)

    async def _decide(self, given: Event, **detail: Any) -> None:
        """Publish the event `chained`: what it says is not decided again."""
        await self.context.event("chained", given.task_id, cause=(self.rule, given.task_id), **detail)

    async def _has_decided(self, task_id: str) -> bool:
        pattern = self.context.subjects.event(task_id, STEWARD)
        for stored in await self.context.bus.stored_singly(EVENTS, pattern):
            with contextlib.suppress(WireError):
                if (await self.context.bus.verifier.event(self.context.subjects, stored)).kind == "chained":
                    return True
        return False

    def _is_member(self, name: str) -> bool:
        return name in self.context.org.people or any(agent.id == name for agent in self.context.org.agents)
