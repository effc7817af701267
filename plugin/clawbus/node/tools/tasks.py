"""`nats_tasks`: an agent follows, steers and cancels the tasks that it gave away."""

from __future__ import annotations

import asyncio
from typing import Any

from clawbus.errors import BusAway, NotFound, Refused
from clawbus.node.ledger import Ledger, Sent
from clawbus.node.prompts import frames
from clawbus.node.prompts.untrusted import harmless
from clawbus.node.requester import Requester
from clawbus.node.tools.answer import Answer, Caller, where
from clawbus.node.tools.params import NatsTasks
from clawbus.tasks import History, TaskView
from clawbus.tasks.ends import End

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
            return await self._steer(sent, asked.message or "")
        if asked.action == "cancel":
            return await self._cancel(sent)
        if asked.action == "wait":
            await self._wait(sent, asked.timeout_seconds)
        views = [await self._view(task, _MAX_CHARS // len(sent)) for task in sent]
        return Answer(True, "\n\n".join(text for text, _ in views), {"tasks": [data for _, data in views]})

    def _list(self, caller: Caller) -> Answer:
        sent = self._ledger.sent.of_agent(caller.agent)
        if not sent:
            return Answer(True, "You have given no task away.", {"tasks": []})
        lines = [f"{task.task_id}  {_state(task):10} {task.task.to}  {_called(task)}" for task in sent]
        return Answer(
            True, "\n".join(lines), {"tasks": [{"taskId": task.task_id, "state": _state(task)} for task in sent]}
        )

    async def _cancel(self, sent: list[Sent]) -> Answer:
        lines = []
        for task in sent:
            won, end = await self._requester.cancel(task)
            lines.append(
                f"{task.task_id}: cancelled; its turn is being stopped."
                if won
                else f"{task.task_id}: not cancelled, it had ended before: {end.status}."
            )
        return Answer(True, "\n".join(lines), {"tasks": [{"taskId": task.task_id} for task in sent]})

    async def _steer(self, sent: list[Sent], message: str) -> Answer:
        """Say something to each task. Whether it was heard, its worker's node tells later: an event `steered`."""
        said = [await self._steer_one(task, message) for task in sent]
        data = [{"taskId": task.task_id, "sent": went} for task, (went, _) in zip(sent, said, strict=True)]
        return Answer(all(went for went, _ in said), "\n".join(text for _, text in said), {"tasks": data})

    async def _steer_one(self, task: Sent, message: str) -> tuple[bool, str]:
        """Returns True if it was sent, and the words for the model. Raises BusAway."""
        if (end := await self._requester.end_of(task)) is not None:
            return False, f"{task.task_id}: not steered, it had ended before: {end.status}."
        try:
            view: TaskView | None = await self._history.task(task.task_id)
        except NotFound:
            view = None
        worker = self._requester.worker_of(task, view)
        if worker is None:
            return False, f"{task.task_id}: not steered, nobody of {task.task.to} has taken it yet. Try when it runs."
        try:
            on_bus = await self._requester.steer(task, worker, message)
        except Refused as refusal:
            return False, f"{task.task_id}: not steered. {refusal}"
        said = where(on_bus, "sent", self._requester.away)
        running = view is not None and view.state == "running"
        when = "its turn hears it before its next step" if running else "it is told when its turn starts"
        return True, f"{task.task_id}: {said}, to {worker}; {when}. Action status says `steered` once that is known."

    async def _wait(self, sent: list[Sent], timeout_s: int) -> None:
        """Until all have ended, asking the server every second: a wait is rare, and any number may wait."""
        try:
            async with asyncio.timeout(timeout_s):
                for task in sent:
                    while await self._requester.end_of(task) is None:  # noqa: ASYNC110 - the server has it
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
        if seen := _seen(view, end is None):
            text += f"\n{frames.fence(seen)}"
        steered = view.steered if view is not None else ""
        return text, {"taskId": sent.task_id, "state": state} | ({"steered": steered} if steered else {})


def _shortened(text: str, room: int) -> str:
    """A reply that fits beside the others that were asked for; a cut shows."""
    return text if len(text) <= room else f"{text[:room]}\n[cut here: ask for this task alone to have it whole]"


def _seen(view: TaskView | None, is_open: bool) -> str:
    """The last words of a task's worker on it: data, one line each."""
    if view is None:
        return ""
    said = {"Reported": view.reported, "Last seen": view.progress, "Steered": view.steered}
    if not is_open:
        said = {"Steered": view.steered}
    return "\n".join(f"{name}: {' '.join(text.split())[:200]}" for name, text in said.items() if text)


def _state(sent: Sent) -> str:
    return sent.result.status or "ended" if sent.result else "open"


def _called(sent: Sent) -> str:
    return harmless(sent.task.subject or sent.task.body[:60], lines=False)
