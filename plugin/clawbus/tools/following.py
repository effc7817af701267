"""`nats_tasks`: an agent follows and cancels the tasks that it gave away."""

from __future__ import annotations

import asyncio
from typing import Any

from clawbus import frames
from clawbus.bus import End
from clawbus.errors import BusAway, NotFound, Refused
from clawbus.ledger import Ledger, Sent
from clawbus.tasks import History, Requester, TaskView
from clawbus.tools.calls import Answer, Caller
from clawbus.tools.models import NatsTasks

_MAX_CHARS = 600_000


class TasksTool:
    """The tasks of whoever calls; nobody sees another agent's."""

    def __init__(self, ledger: Ledger, requester: Requester, history: History) -> None:
        self._ledger = ledger
        self._requester = requester
        self._history = history

    async def tasks(self, caller: Caller, asked: NatsTasks) -> Answer:
        if asked.action == "list":
            return self._list(caller)
        sent = [self._requester.mine(caller.agent, task_id) for task_id in asked.task_ids or ()]
        if asked.action == "steer":
            raise Refused(
                "a running task cannot be steered yet; nothing was sent",
                "Cancel it and spawn a better one, or wait for its result.",
            )
        if asked.action == "cancel":
            return await self._cancel(sent)
        if asked.action == "wait":
            await self._wait(sent, asked.timeout_seconds)
        views = [await self._view(one, _MAX_CHARS // len(sent)) for one in sent]
        return Answer(True, "\n\n".join(text for text, _ in views), {"tasks": [data for _, data in views]})

    def _list(self, caller: Caller) -> Answer:
        sent = self._ledger.sent.of_agent(caller.agent)
        if not sent:
            return Answer(True, "You have given no task away.", {"tasks": []})
        lines = [
            f"{one.task_id}  {_state(one):10} {one.task.to}  {one.task.subject or one.task.body[:60]!r}" for one in sent
        ]
        return Answer(True, "\n".join(lines), {"tasks": [{"taskId": s.task_id, "state": _state(s)} for s in sent]})

    async def _cancel(self, sent: list[Sent]) -> Answer:
        lines = []
        for one in sent:
            won, end = await self._requester.cancel(one)
            lines.append(
                f"{one.task_id}: cancelled; its turn is being stopped."
                if won
                else f"{one.task_id}: not cancelled, it had ended before: {end.status}."
            )
        return Answer(True, "\n".join(lines), {"tasks": [{"taskId": one.task_id} for one in sent]})

    async def _wait(self, sent: list[Sent], timeout_s: int) -> None:
        """Until all have ended, asking the server every second: a wait is rare, and any number may wait."""
        try:
            async with asyncio.timeout(timeout_s):
                for one in sent:
                    while await self._requester.end_of(one) is None:  # noqa: ASYNC110 - the server has it
                        await asyncio.sleep(1.0)
        except TimeoutError:
            return

    async def _view(self, sent: Sent, room: int) -> tuple[str, dict[str, Any]]:
        """One task, in words and as data; from the ledger alone while the bus is away."""
        try:
            end: End | None = await self._requester.end_of(sent)
            view: TaskView | None = await self._history.task(sent.task_id)
        except (BusAway, NotFound):
            end, view = None, None
        state = end.status if end else (view.state if view else _state(sent))
        text = f"{sent.task_id} at {sent.task.to}: {state}"
        if end is not None:
            text += f"\n{frames.fence(_shortened(end.envelope.body, room))}"
        elif view is not None and view.progress:
            text += f"\n{frames.fence('Last seen: ' + ' '.join(view.progress.split())[:120])}"
        return text, {"taskId": sent.task_id, "state": state}


def _shortened(text: str, room: int) -> str:
    """A reply that fits beside the others that were asked for; a cut shows."""
    return text if len(text) <= room else f"{text[:room]}\n[cut here: ask for this task alone to have it whole]"


def _state(sent: Sent) -> str:
    return sent.result.status or "ended" if sent.result else "open"
