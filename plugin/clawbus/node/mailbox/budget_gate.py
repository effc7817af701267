"""Every task on its way out of a node: first its turn is reserved in the budget of its tree, then it is published.

It stands at the outbox, so that a task that waits for the bus, or is tried again after a crash, goes the same way.
"""

from __future__ import annotations

from clawbus.bus import Bus
from clawbus.errors import ClawbusError, InvalidInput, OverBudget
from clawbus.node.ledger import Outgoing
from clawbus.node.mailbox.outbox import Outbox
from clawbus.org import Org
from clawbus.tasks.budget import Record
from clawbus.tasks.budget_account import spend_of
from clawbus.wire.envelope import Envelope


class BudgetGate:
    """The gate of an outbox (`outbox.OutboxGate`)."""

    def __init__(self, bus: Bus, org: Org) -> None:
        self._spend = spend_of(bus, org)

    async def before(self, out: Outgoing, outbox: Outbox) -> None:
        """Raises OverBudget or BusAway."""
        if (task := _task(out)) is not None:
            await self.reserve(task, outbox)

    async def reserve(self, turn: Envelope, outbox: Outbox) -> None:
        """Reserve a turn for a task, or for a message that wakes. People hear of a refusal through `outbox`.

        Raises OverBudget, BusAway.
        """
        try:
            await self._spend.reserve(turn)
        except OverBudget as error:
            detail = {"used": error.exceeded, "to": turn.to, "label": turn.subject or None, "parent": turn.parent}
            outbox.event("over_budget", error.trace, turn.sender, **detail)
            raise

    def refused(self, out: Outgoing, error: ClawbusError, outbox: Outbox) -> None:
        """The server has not taken a task: its turn goes back."""
        task = None if isinstance(error, OverBudget | InvalidInput) else _task(out)
        if task is None:
            return
        record = Record(kind="released", task=task.task_id or "")
        subject = self._spend.subject(task.trace_id or task.task_id or "", task.sender)
        outbox.later(subject, f"{task.sender}-unspent-{task.task_id}", record.encode())


def _task(out: Outgoing) -> Envelope | None:
    """None for anything else that goes out."""
    return Envelope.model_validate_json(out.data) if b'"type":"task"' in out.data else None
