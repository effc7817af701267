"""The worker's side of the limits: a task that has arrived is checked before anybody works on it.

Its requester's node has checked the same before it was sent. This is for a node that has not: a key can write what it
likes, and only what others can see counts here.
"""

from __future__ import annotations

from clawbus.bus import Bus
from clawbus.org import STEWARD, Org
from clawbus.tasks import MAX_HOPS
from clawbus.tasks.budget_account import spend_of
from clawbus.wire.envelope import Envelope


class Admission:
    """Path, hops and the reservation of tasks, as one gateway sees them."""

    def __init__(self, bus: Bus, org: Org) -> None:
        self._spend = spend_of(bus, org)

    async def refusal(self, task: Envelope, worker: str) -> str:
        """The reason why `worker` must not begin a task; empty if it may. Raises BusAway.

        The steward's tasks go along edges that org.toml names, where a result may come back to who asked first.
        """
        if task.hops > MAX_HOPS:
            return f"it has been passed on {task.hops} times; {MAX_HOPS} is the limit"
        if worker in (task.sender, *task.path) and task.sender != STEWARD:
            chain = " -> ".join([*task.path, task.sender, worker])
            return f"{worker} waits for it in its own chain: {chain}"
        return await self._spend.refusal(task)
