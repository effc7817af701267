"""Limits on the mail of one agent and on the turns that it may start, so that a flood stays its sender's own.

Mail of others, people's among them, and results, of which each has been asked for, never wait for it.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from clawbus.errors import BacklogFull, OverBudget, Refused
from clawbus.node.mailbox.budget_gate import BudgetGate
from clawbus.node.mailbox.outbox import Outbox
from clawbus.org import STEWARD, Org
from clawbus.tasks.budget import tree_of
from clawbus.tasks.wake_rules import Asks
from clawbus.wire.envelope import Envelope
from clawbus.wire.subjects import task_id_of

_PER_S = 60.0
_REMEMBERED = 10_000


class RateLimits:
    """At most `most` of a kind in any minute. In memory: a restart begins anew."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._passed: OrderedDict[tuple[str, ...], deque[float]] = OrderedDict()
        self._told: dict[tuple[str, ...], tuple[float, int]] = {}

    def wait_s(self, *kind: str) -> float:
        """0: it may pass, and is counted. Else in how many seconds one more may."""
        now = self._clock()
        passed = self._passed.setdefault(kind, deque())
        self._passed.move_to_end(kind)
        while len(self._passed) > _REMEMBERED:
            self._told.pop(self._passed.popitem(last=False)[0], None)
        while passed and passed[0] + _PER_S <= now:
            passed.popleft()
        if len(passed) < self._most:
            passed.append(now)
            return 0.0
        return passed[0] + _PER_S - now

    def slot_s(self, *kind: str) -> float:
        """As `wait_s`, for what comes again by itself: each is told a time of its own, so that they do not all come at
        once, to be sent away but for a few."""
        if not self.wait_s(*kind):
            return 0.0
        now, passed = self._clock(), self._passed[kind]
        until, told = self._told.get(kind, (0.0, 0))
        if now >= until:  # the first of those who were told have come
            until, told = now + _PER_S, 0
        self._told[kind] = (until, told + 1)
        return passed[told % self._most] + _PER_S * (1 + told // self._most) - now

    def check(self, what: str, sender: str, to: str) -> None:
        """For what an agent here says: counted if it may pass. Raises BacklogFull, which names `what` and `to`."""
        if wait_s := self.wait_s(sender, to):
            raise BacklogFull(
                f"{self._most} {what} of yours for {to} in a minute are the most; nothing was sent",
                f"Retry after {round(wait_s) + 1} s. Put what is left into one message.",
            )


class MailBounds:
    """Bounds the mail that comes to the agents of one gateway, and the turns that it begins."""

    def __init__(self, org: Org, budget_gate: BudgetGate, outbox: Outbox) -> None:
        self._budget_gate = budget_gate
        self._outbox = outbox
        self._people = org.people
        self._mails = RateLimits(org.policies.mail_quota)
        self._turns = RateLimits(org.policies.quota)

    def wait_s(self, mail: Envelope, agent: str) -> float:
        """0 if it may come in; else how long it waits on the bus, where it is safe."""
        if mail.type == "result" or mail.sender in self._people | {STEWARD}:
            return 0.0
        return self._mails.slot_s(mail.sender, agent)

    async def asks(self, mail: Envelope, agent: str, asks: Asks) -> Asks:
        """Decide on the turn that a mail asks for: the turn is one of its tree's, as a task's is. Raises BusAway.

        Of a tree that has none left it lies in nats_inbox. Of one sender who asks for more than policies.quota of them
        in a minute the rest waits for the digest, which is one turn however much is said, as does what the server has
        no room to count. So it is with the steward, whose mail follows from what others say: it belongs to no tree, and
        reserves nothing.
        """
        if asks != "now":
            return asks
        if mail.sender not in self._people and self._turns.wait_s(mail.sender, agent):
            return "digest"
        if mail.sender == STEWARD:
            return "now"
        turn_id = task_id_of(hashlib.sha256(f"{mail.id}\n{agent}".encode()).digest())
        begun = {"task_id": turn_id, "trace_id": tree_of(mail), "to": agent, "sender": agent, "parent": mail.task_id}
        turn = mail.model_copy(update=begun)
        try:
            await self._budget_gate.reserve(turn, self._outbox)
        except OverBudget:
            return "never"
        except Refused:  # the accounts are full: it must not stay on the bus for that
            return "digest"
        return "now"
