"""The calls between the parts of one node: a part that has news calls a signal, and knows nobody who listens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, ParamSpec

P = ParamSpec("P")
Probe = Callable[[str, str], Awaitable[None]]
"""Called with an id and the name of a step. The crash tests stop the process there."""


class Signal(Generic[P]):
    """Calls its listeners in the order in which they came."""

    def __init__(self) -> None:
        self._listeners: list[Callable[P, None]] = []

    def connect(self, listener: Callable[P, None]) -> None:
        """From now on `listener` is called, too."""
        self._listeners.append(listener)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        for listener in self._listeners:
            listener(*args, **kwargs)


class NodeSignals:
    """The news inside one node. Each part gets this object in its constructor."""

    def __init__(self) -> None:
        self.result: Signal[[str]] = Signal()
        """A result has come over the bus: the id of its task, which an agent here gave and which was open."""
        self.ended: Signal[[str]] = Signal()
        """A task that an agent here gave was ended by this node: it was cancelled, expired, or never sent."""
        self.mail: Signal[[]] = Signal()
        """An agent has new mail, but for results."""


async def no_probe(_id: str, _step: str) -> None:
    """The probe of every node but those of the crash tests."""
