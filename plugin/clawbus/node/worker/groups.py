"""Tasks for a team or a pool, as one gateway that has members of it sees them.

All members share the group's durables: the server hands each task to one of them. When that one dies, its lease runs
out and another gets it. What they must know of each other they read from the task's events.
"""

from __future__ import annotations

from collections.abc import Callable

from clawbus.bus import handed_out
from clawbus.node.ledger import Ledger, Run
from clawbus.org import Org
from clawbus.tasks import History
from clawbus.wire.envelope import Envelope
from clawbus.wire.subjects import Subjects

_STARTS = ("started", "retrying")


class Groups:
    """Chooses the agent of this gateway that takes a group's task, and says if the task is still its own."""

    def __init__(self, org: Org, gateway: str, ledger: Ledger, history: History) -> None:
        self.subjects = Subjects(org.company)
        self.org = self._org = org
        self._mine = frozenset(agent.id for agent in org.agents_of(gateway))
        self._ledger = ledger
        self._history = history

    def is_group(self, to: str) -> bool:
        return bool(self._org.members(to))

    def choose(self, task: Envelope, barred: Callable[[str], bool]) -> str | None:
        """The agent here that does a task: the one that it is for, or of a group the member with the fewest in hand.

        None if nobody here may: who asked does not do it himself, nor does anybody who waits for it along the chain,
        nor who is `barred`.
        """
        if not self.is_group(task.to):
            return None if barred(task.to) else task.to
        waiting = {task.sender, *task.path}
        members = [member for member in self._org.members(task.to) if member in self._mine and member not in waiting]
        members = [member for member in members if not barred(member)]
        load = self._ledger.runs.load()
        return min(members, key=lambda member: load.get(member, 0), default=None)  # of equals the first in the file

    def stand_in(self, to: str) -> str:
        """The agent here that may speak of what was addressed so: the agent itself, or the first member here."""
        return (
            to if to in self._mine else next((member for member in self._org.members(to) if member in self._mine), to)
        )

    async def strikes(self, task: Envelope) -> int:
        """Attempts of members that were started, and ended neither in an outcome nor by giving it back.

        Of an agent's own task its gateway's ledger knows them. Raises BusAway.
        """
        if not self.is_group(task.to):
            return 0
        takers = self._org.may_take(task.to)
        events = [event for event in await self._history.events(task.task_id) if event.sender in takers]
        given_back = sum(event.kind == "interrupted" and bool(event.detail.get("given_back")) for event in events)
        return max(0, sum(event.kind in _STARTS for event in events) - given_back)

    async def taken_since(self, run: Run) -> bool:
        """True if another member was handed the task after this gateway: then it is the other's. Raises BusAway.

        True, too, when the agent that had it here has left.
        """
        if run.worker not in self._mine:
            return True
        if not self.is_group(run.task.to):
            return False
        takers, mine = self._org.may_take(run.task.to), handed_out(run.ack_subject)
        return any(
            event.kind == "delivered" and event.sender in takers - {run.worker} and event.number("delivered") > mine
            for event in await self._history.events(run.task_id)
        )
