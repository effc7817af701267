"""How fast one agent's mail is let through, and how many turns it may start: so that a flood stays its sender's own.

Mail of others, people's among them, and results, of which each has been asked for, never wait for it.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict, deque

from clawbus.envelope import Envelope
from clawbus.errors import OverBudget
from clawbus.mailbox.rules import Asks
from clawbus.mailbox.spending import Reserving
from clawbus.org import STEWARD, Org
from clawbus.subjects import is_task_id, task_id_of

_PER_S = 60.0
_REMEMBERED = 10_000


class Pace:
    """At most `most` of a kind in any minute. In memory: a restart begins anew."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._passed: OrderedDict[tuple[str, ...], deque[float]] = OrderedDict()

    def wait_s(self, *kind: str) -> float:
        """0: it may pass, and is counted. Else in how many seconds one more may."""
        now = time.monotonic()
        passed = self._passed.setdefault(kind, deque())
        self._passed.move_to_end(kind)
        while len(self._passed) > _REMEMBERED:
            self._passed.popitem(last=False)
        while passed and passed[0] <= now - _PER_S:
            passed.popleft()
        if len(passed) < self._most:
            passed.append(now)
            return 0.0
        return passed[0] + _PER_S - now


class MailBounds:
    """What mail may bring upon the agents of one gateway."""

    def __init__(self, org: Org, reserving: Reserving) -> None:
        self._reserving = reserving
        self._trusted = org.people | {STEWARD}
        self._mails = Pace(org.policies.mail_quota)
        self._turns = Pace(org.policies.quota)

    def wait_s(self, mail: Envelope, agent: str) -> float:
        """0 if it may come in; else how long it waits on the bus, where it is safe."""
        if mail.type == "result" or mail.sender in self._trusted:
            return 0.0
        return self._mails.wait_s(mail.sender, agent)

    async def asks(self, mail: Envelope, agent: str, asks: Asks) -> Asks:
        """What it gets of the turn that it asks for: each is one of its tree's, as a task's is. Raises BusAway.

        Of a tree that has none left it lies in nats_inbox. Of one sender who asks for more than policies.quota of them
        in a minute the rest waits for the digest, which is one turn however much is said.
        """
        if asks != "now" or mail.sender == STEWARD:
            return asks
        if mail.sender not in self._trusted and self._turns.wait_s(mail.sender, agent):
            return "digest"
        if not is_task_id(mail.trace_id or ""):
            return asks
        turn_id = task_id_of(hashlib.sha256(f"{mail.id}\n{agent}".encode()).digest())
        turn = mail.model_copy(update={"task_id": turn_id, "to": agent, "sender": agent, "parent": mail.task_id})
        try:
            await self._reserving.reserve(turn)
        except OverBudget:
            return "never"
        return "now"
