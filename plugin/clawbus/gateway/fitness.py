"""The fitness of agents: an agent is unfit while its turns fail before a model is asked (ADR 26).

Three failures in a row make an agent unfit. A turn that comes to its model makes it fit again, and so does a new
process of the gateway. Meanwhile one turn may try, and the next one after a longer pause.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from clawbus.gateway.rpc import GatewayRpc
from clawbus.gateway.run_phases import FailureBeforeModel
from clawbus.retry import Backoff, pause

log = logging.getLogger(__name__)
IN_A_ROW = 3
_FIRST_S, _LONGEST_S = 5.0, 60.0


@dataclass(slots=True)
class _Agent:
    failures: int = 0
    """In a row."""
    last_ms: float = 0.0
    """The end of the last one, by the gateway's clock."""
    why: str = ""
    asked_at: float = float("-inf")
    """The moment (monotonic) at which a turn last came to its model."""
    backoff: Backoff = field(default_factory=lambda: Backoff(_FIRST_S, _LONGEST_S))
    next_try: float = 0.0

    @property
    def is_fit(self) -> bool:
        return self.failures < IN_A_ROW


class Fitness:
    """The fitness of one gateway's agents."""

    def __init__(self, rpc: GatewayRpc) -> None:
        self._rpc = rpc
        self._boot_id = ""
        self._agents: dict[str, _Agent] = {}
        self._news = asyncio.Event()
        self.on_change: list[Callable[[], None]] = []
        """Called when an agent has become fit or unfit, or may be tried."""
        rpc.runs.on_model_asked.append(self._on_model_asked)
        rpc.runs.on_failure_before_model.append(self._on_failure)
        rpc.on_change.append(self._gateway_changed)

    # -- what is known ------------------------------------------------------------------------------------------------

    def fit(self, agent: str) -> bool:
        """True if an agent's turns come to their model, as far as is known."""
        return self._of(agent).is_fit

    def unfit(self) -> dict[str, str]:
        """The unfit agents, each with the gateway's words for its last failure."""
        return {agent: known.why for agent, known in sorted(self._agents.items()) if not known.is_fit}

    def barred(self, agents: Collection[str]) -> set[str]:
        """Those of these agents for which no turn may be tried now."""
        return {agent for agent in agents if self._left_s(agent) > 0}

    def asked_since(self, agent: str, moment: float) -> bool:
        """True if a turn of an agent has come to its model after a moment (`time.monotonic`)."""
        return self._of(agent).asked_at > moment

    async def admit(self, agent: str) -> None:
        """Wait until a turn of an agent may be tried. Of an unfit agent the one that returns first has the one try."""
        while (left_s := self._left_s(agent)) > 0:
            await pause(self._news, left_s)
        known = self._of(agent)
        if not known.is_fit:
            self._pause_tries(known)

    async def news(self) -> None:
        """Wait until an agent has become fit or unfit, or may be tried."""
        await self._news.wait()

    # -- events of the gateway -----------------------------------------------------------------------------------------

    def _on_model_asked(self, agent: str) -> None:
        known = self._of(agent)
        known.asked_at = time.monotonic()
        self._make_fit(known)

    def _on_failure(self, failure: FailureBeforeModel) -> None:
        known = self._of(failure.agent)
        # It counts if its turn began after the last one had ended: many turns that fail at one moment are one failure.
        if known.failures and failure.began_ms and failure.began_ms < known.last_ms:
            return
        known.failures, known.last_ms, known.why = known.failures + 1, failure.ended_ms, failure.why
        log.warning("a turn of %s failed before its model was asked, %d in a row", failure.agent, known.failures)
        if known.failures == IN_A_ROW:
            self._pause_tries(known)
            self._notify()

    def _pause_tries(self, known: _Agent) -> None:
        """Let no turn of an agent be tried for a while, twice as long each time."""
        pause_s = known.backoff.next_s()
        known.next_try = time.monotonic() + pause_s
        asyncio.get_running_loop().call_later(pause_s, self._notify)

    def _gateway_changed(self, ready: bool) -> None:
        if ready and self._rpc.boot_id != self._boot_id:
            self._boot_id = self._rpc.boot_id
            for known in self._agents.values():
                self._make_fit(known)

    def _make_fit(self, known: _Agent) -> None:
        was_fit = known.is_fit
        known.failures, known.last_ms, known.next_try = 0, 0.0, 0.0
        known.backoff.reset()
        if not was_fit:
            self._notify()

    def _notify(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()
        for callback in list(self.on_change):
            callback()

    def _left_s(self, agent: str) -> float:
        known = self._of(agent)
        return 0.0 if known.is_fit else known.next_try - time.monotonic()

    def _of(self, agent: str) -> _Agent:
        return self._agents.setdefault(agent, _Agent())
