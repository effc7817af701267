"""The permit to begin a turn for an agent: people have not stopped it, and its turns come to their model."""

from __future__ import annotations

from collections.abc import Collection

from clawbus.gateway import Fitness
from clawbus.node.signals import Signal
from clawbus.tasks.halt import Halt


class TurnPermit:
    """The permits of one gateway's agents. `on_change` is called when one may have changed."""

    def __init__(self, halt: Halt, fitness: Fitness, agents: Collection[str]) -> None:
        self._halt = halt
        self._fitness = fitness
        self._agents = agents
        self.on_change: Signal[[]] = Signal()
        halt.on_change.append(self.on_change)
        fitness.on_change.append(self.on_change)

    def barred(self) -> set[str]:
        """The agents for which no turn may be begun now."""
        return self._halt.barred(self._agents) | self._fitness.barred(self._agents)

    async def wait(self, agent: str) -> None:
        """Wait until a turn may be begun for an agent. While the agent is unfit, the caller has the one try."""
        await self._halt.may_begin(agent)
        await self._fitness.admit(agent)
        await self._halt.may_begin(agent)  # a person may have stopped it while the try was waited for
