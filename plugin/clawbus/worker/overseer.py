"""Oversight: what a person wants to see before an agent starts on it, or before its report goes out.

The question and the decision are events of the task: they survive every process, any node reads them, and only the
events of people count as a decision. Whoever asked for the task, and on whatever way it came, the worker's node asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clawbus.envelope import Envelope
from clawbus.ledger import Run
from clawbus.mailbox import Outbox
from clawbus.org import Org
from clawbus.tasks import History

Side = Literal["dispatch", "report"]
_LEVELS: dict[str, Side] = {"ask_dispatch": "dispatch", "ask_report": "report"}
_SHOWN_CHARS = 4_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether it may go on; if not, `refused` says why, or is None as long as nobody has decided."""

    go: bool
    refused: str | None = None


class Overseer:
    """Asks people, and reads what they have decided."""

    def __init__(self, org: Org, outbox: Outbox, history: History) -> None:
        self._org = org
        self._outbox = outbox
        self._history = history

    async def may_start(self, task: Envelope, worker: str) -> Verdict:
        """Before the first turn of a task. Raises BusAway."""
        return await self._verdict("dispatch", task, worker, task.body)

    async def may_report(self, run: Run) -> Verdict:
        """Before the end of a task is written. Only a report is asked for, not a failure. Raises BusAway."""
        if run.outcome is None or run.outcome.status != "done":
            return Verdict(True)
        return await self._verdict("report", run.task, run.worker, run.outcome.body)

    async def _verdict(self, side: Side, task: Envelope, worker: str, text: str) -> Verdict:
        rule = self._org.watch(task.sender, worker) or self._org.watch(task.sender, task.to)
        if rule is None or _LEVELS.get(rule.level) != side or task.sender in self._org.people:
            return Verdict(True)  # a person who asks for something himself has decided
        said = [one for one in await self._history.events(task.task_id) if one.detail.get("side") == side]
        decided = next(
            (one for one in said if one.kind in ("approved", "refused") and one.sender in self._org.people), None
        )
        if decided is None:
            if not any(one.kind == "waiting_approval" and one.sender == worker for one in said):
                human = rule.human or self._org.humans[0].id
                detail = {"side": side, "to": human, "label": task.subject, "for": task.sender}
                self._outbox.event("waiting_approval", task.task_id or "", worker, **detail, text=text[:_SHOWN_CHARS])
            return Verdict(False)
        if decided.kind == "approved":
            return Verdict(True)
        why = f": {decided.detail['why']}" if decided.detail.get("why") else ""
        return Verdict(
            False, f"{decided.sender} did not let {'it start' if side == 'dispatch' else 'the report out'}{why}"
        )
