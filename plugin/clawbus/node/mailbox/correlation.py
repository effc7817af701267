"""The results that count: of tasks that this gateway's agents gave, from who may have done them, or from the steward.

The steward ends what nobody took in time, and goes on with a task for its requester: the next of a chain, a dead one
that was tried again. What comes of that names in `parent` the task that the agent gave; it is adopted: it goes into the
session of that task, as a result of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from clawbus.node.ledger import Ledger, Sent
from clawbus.org import STEWARD
from clawbus.wire.envelope import Envelope


def record_result(ledger: Ledger, agent: str, mail: Envelope, takers: Callable[[str], Collection[str]]) -> bool:
    """Keep a result that came for `agent`, if it counts and is the first of its task; False for any other mail.

    The sender is the subject's, which the server has checked. Call it within `Ledger.together`.
    """
    if mail.type != "result" or not mail.task_id:
        return False
    sent = ledger.sent.get(mail.task_id) or _adopted(ledger, agent, mail)
    if sent is None or sent.task.sender != agent or mail.sender not in {*_workers(sent.task, takers), STEWARD}:
        return False
    return ledger.sent.took_result(sent.task_id, mail)


def _workers(task: Envelope, takers: Callable[[str], Collection[str]]) -> set[str]:
    """The agents that may bring its result: also a member of its team or pool when it was given that has left since."""
    return {*takers(task.to), *(task.takers or ())}


def _adopted(ledger: Ledger, agent: str, result: Envelope) -> Sent | None:
    """A row for a task that the steward gave in this agent's place; None if it is not what came of a task of his.

    Its label is the agent's own: that of the result is another's, and stands outside the body.
    """
    first = ledger.sent.get(result.parent or "") if result.sender == STEWARD else None
    if first is None or first.task.sender != agent:
        return None
    task = first.task.model_copy(
        update={
            "id": result.id,
            "task_id": result.task_id,
            "parent": first.task_id,
        }
    )
    ledger.sent.add(task, first.session_key, "adopted")
    return ledger.sent.get(task.task_id or "")
