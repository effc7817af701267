"""The budget accounts of trees of tasks, read and written by compare-and-set (docs/adr/0019-budget.md).

A reservation names the last sequence over `<company>.spend.<trace>.*` that its writer has read; the server refuses it
if there is a newer one (nats-server ADR-8 and ADR-50). So two who give tasks at once cannot both take the last turn.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Collection
from weakref import WeakValueDictionary

from clawbus.bus.bus import Bus
from clawbus.bus.messages import Stored
from clawbus.errors import BusAway, EndConflict, InvalidInput, OverBudget, WireError
from clawbus.org import Org
from clawbus.tasks.budget import Record, Tree, decode_record
from clawbus.tasks.ends import Takers
from clawbus.wire.channels import SPEND
from clawbus.wire.envelope import Budget, Envelope
from clawbus.wire.subjects import Subjects

_TRIES = 200
"""The most writers on one tree at the same moment: each round one of them succeeds."""
_REMEMBERED = 500


class Spend:
    """Reads and writes the accounts of trees."""

    def __init__(self, bus: Bus, subjects: Subjects, people: Collection[str], takers: Takers, bound: Budget) -> None:
        """`people`: those who may raise a budget. `takers`: the agents that may report a task's use (`Org.may_take`).

        `bound`: the budget that org.toml allows each tree.
        """
        self._bus = bus
        self._subjects = subjects
        self._people = people
        self._takers = takers
        self.bound = bound
        self._trees: OrderedDict[str, Tree] = OrderedDict()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def tree(self, trace: str) -> Tree:
        """A tree as the server has it now. Raises BusAway; InvalidInput if `trace` is none."""
        tree = self._tree(trace)
        pattern = self._subjects.filter("spend", trace=trace)
        while (stored := await self._bus.next_message(SPEND, pattern, tree.seq + 1)) is not None:
            signed = await self._is_signed(stored)
            if stored.seq > tree.seq:  # another read at the same time may have been faster
                self._add(tree, stored, signed)
        return tree

    async def all(self) -> list[Tree]:
        """Every tree that the stream still has, the oldest first. For people and the steward. Raises BusAway."""
        found: dict[str, Tree] = {}
        for stored in await self._bus.stored(SPEND, self._subjects.everything("spend")):
            with contextlib.suppress(WireError):
                trace = self._subjects.parse(stored.subject).tokens["trace"]
                self._add(found.setdefault(trace, Tree(trace)), stored, await self._is_signed(stored))
        return list(found.values())

    async def reserve(self, task: Envelope) -> None:
        """Reserve the turn of a task that is about to be given. Done already, it changes nothing.

        Raises OverBudget, which says what is used up, and BusAway.
        """
        trace = task.trace_id or task.task_id or ""
        lock = self._locks.get(trace) or asyncio.Lock()
        self._locks[trace] = lock  # a weak reference: it goes when nobody holds the lock any more
        async with lock:
            await self._reserve(trace, task)

    async def _reserve(self, trace: str, task: Envelope) -> None:
        """Raises OverBudget, BusAway."""
        tree = self._tree(trace)
        if (
            trace != task.task_id or tree.seq
        ):  # a new tree need not be read: the server refuses the write if it is not new
            tree = await self.tree(trace)
        for _ in range(_TRIES):
            if self._has(tree, task):
                return
            if exceeded := tree.exceeded(self.bound, task.budget):
                raise OverBudget(trace, exceeded)
            with contextlib.suppress(EndConflict):
                await self._write(tree, task)
                return
            tree = await self.tree(trace)  # perhaps another object: only the last _REMEMBERED trees are kept
        raise BusAway("others keep writing on this tree's account", "It is tried again.")

    async def _write(self, tree: Tree, task: Envelope) -> None:
        """Write the reservation. Raises EndConflict if others have written since."""
        parent = task.parent or ""
        budget = task.budget if not tree.tasks else None
        record = Record(kind="reserved", task=task.task_id or "", to=task.to, parent=parent, turns=1, budget=budget)
        ack = await self._bus.publish(
            self.subject(tree.trace, task.sender),
            record.encode(),
            msg_id=f"{task.sender}-spend-{task.task_id}-{tree.releases}",
            last_seq=(self._subjects.filter("spend", trace=tree.trace), tree.seq),
        )
        if ack.duplicate:  # an earlier try has arrived, and its ack was lost
            await self.tree(tree.trace)
        else:
            tree.add(record, task.sender, self._people, self._takers)
            tree.seq = ack.seq

    def subject(self, trace: str, sender: str) -> str:
        """The subject on which `sender` writes records of a tree. Raises InvalidInput."""
        return self._subjects.build("spend", sender, trace=trace)

    async def refusal(self, task: Envelope) -> str:
        """The reason why a task must not start, by its tree's account; empty if it may. Raises BusAway."""
        try:
            tree = await self.tree(task.trace_id or task.task_id or "")
        except InvalidInput:
            return "its trace_id is none"
        if self._has(tree, task):
            return ""
        return f"{task.sender} had reserved no turn for it in the budget of its tree"

    def _has(self, tree: Tree, task: Envelope) -> bool:
        reserved = tree.tasks.get(task.task_id or "")
        return reserved is not None and not reserved.released and (reserved.by, reserved.to) == (task.sender, task.to)

    def _tree(self, trace: str) -> Tree:
        tree = self._trees.setdefault(trace, Tree(trace))
        self._trees.move_to_end(trace)
        while len(self._trees) > _REMEMBERED:
            self._trees.popitem(last=False)
        return tree

    async def _is_signed(self, stored: Stored) -> bool:
        """True if its sender has signed it. Raises BusAway."""
        with contextlib.suppress(WireError):
            await self._bus.verifier.check(stored)
            return True
        return False

    def _add(self, tree: Tree, stored: Stored, signed: bool) -> None:
        """Add the next record of the stream. A record that is malformed or not signed changes nothing."""
        tree.seq = stored.seq
        if not signed:
            return
        with contextlib.suppress(WireError):
            sender = self._subjects.parse(stored.subject).sender
            tree.add(decode_record(stored.data), sender, self._people, self._takers)


def spend_of(bus: Bus, org: Org) -> Spend:
    """The accounts of a company."""
    bound = Budget(turns=org.budget.turns, minutes=org.budget.minutes, tokens=org.budget.tokens)
    return Spend(bus, Subjects(org.company), org.people, org.may_take, bound)
