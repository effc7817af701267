"""A breaker between an agent and each receiver: what fails again and again for the same reason is not sent again.

Only ends that the receiver has brought about count: a task that its requester took back says nothing of him, nor does
one that ends while his gateway fails every turn.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from clawbus.errors import Refused
from clawbus.node.ledger import Ledger
from clawbus.node.mailbox import Outbox
from clawbus.org import Org

_FAILED = ("failed", "timed_out", "dead")
_ID = re.compile(r"\b(?:[a-z2-7]{26}|[0-9a-f]{12,})\b")
_NUMBER = re.compile(r"[0-9]+")
_REASON_CHARS = 160


class CircuitBreaker:
    """The breakers of one gateway's agents, kept in its ledger.

    `is_unwell`: True if an agent's gateway fails its turns before a model is asked.
    """

    def __init__(self, org: Org, ledger: Ledger, outbox: Outbox, is_unwell: Callable[[str], bool]) -> None:
        self._most = org.policies.breaker
        self._rest_s = org.policies.breaker_rest_s
        self._ledger = ledger
        self._outbox = outbox
        self._is_unwell = is_unwell

    def check(self, agent: str, to: str, count: int = 1) -> None:
        """Before tasks are given. Raises Refused as long as the edge rests, and after that for more than one."""
        edge = self._ledger.breakers.get(agent, to)
        if not edge.until_s:
            return
        left_s = edge.until_s - time.time()
        if left_s > 0:
            at = datetime.fromtimestamp(edge.until_s, UTC)
            raise Refused(
                f"{edge.failures} tasks of yours in a row for {to} have failed alike ({edge.why}); nothing was sent",
                f"One may go at {at:%H:%M:%S} UTC, in {round(left_s) + 1} s. Until then do without it, or report.",
            )
        if count > 1:
            raise Refused(
                f"{edge.failures} tasks of yours in a row for {to} have failed alike ({edge.why}); of these {count} "
                "nothing was sent",
                "Give one, to see. When it is done, the others may go.",
            )

    def goes(self, agent: str, to: str) -> None:
        """One is about to go out. After a rest it is the only one until the next rest is over, or it is done."""
        edge = self._ledger.breakers.get(agent, to)
        if edge.until_s:
            self._ledger.breakers.put(agent, to, replace(edge, until_s=time.time() + self._rest_s))

    def went_not(self, agent: str, to: str) -> None:
        """It was refused on its way: the next may try at once."""
        edge = self._ledger.breakers.get(agent, to)
        if edge.until_s:
            self._ledger.breakers.put(agent, to, replace(edge, until_s=time.time()))

    def on_result(self, task_id: str) -> None:
        """The end of a task that an agent here has given is in the ledger."""
        sent = self._ledger.sent.get(task_id)
        if sent is None or sent.result is None or sent.kind == "adopted":
            return
        agent, to, end = sent.task.sender, sent.task.to, sent.result
        edge = self._ledger.breakers.get(agent, to)
        if edge.last == task_id or end.status == "cancelled" or end.sender == agent:
            return
        if end.status in _FAILED and (self._is_unwell(to) or self._is_unwell(end.sender)):
            return
        with self._ledger.together():
            if end.status in _FAILED:
                self._failed(agent, to, task_id, f"{end.status}: {alike(end.body)}")
            else:
                self._ledger.breakers.put(agent, to, type(edge)(last=task_id))
                if edge.until_s:
                    self._outbox.event("breaker_closed", task_id, agent, to=to)

    def _failed(self, agent: str, to: str, task_id: str, why: str) -> None:
        edge = self._ledger.breakers.get(agent, to)
        failures = edge.failures + 1 if why == edge.why or edge.until_s else 1
        until_s = time.time() + self._rest_s if edge.until_s or failures >= self._most else 0.0
        self._ledger.breakers.put(agent, to, type(edge)(failures, why, until_s, task_id))
        if until_s and not edge.until_s:
            self._outbox.event("breaker_open", task_id, agent, to=to, failures=failures, why=why)


def alike(reason: str) -> str:
    """A reason without what differs from one time to the next: ids and numbers."""
    words = " ".join(reason.lower().split())[: 4 * _REASON_CHARS]
    return _NUMBER.sub("#", _ID.sub("#", words))[:_REASON_CHARS]
