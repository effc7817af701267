"""Bringing a text into a session so that it is there once, whatever crashes: results and mail both come this way.

The gateway's "accepted" is a promise in its memory only: a message that was queued behind a busy turn is gone after a
`kill -9`. So a text counts as brought when it stands in the session's transcript. After a crash of this node or of the
gateway the transcript is asked first; if it has none of our tries, it is tried again under a new key, and says that it
may be a repeat.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from clawbus.gateway import KEY_PREFIX, Announcements, Fitness, GatewayRpc
from clawbus.node.signals import Signal
from clawbus.retry import Backoff
from clawbus.tasks.halt import Halt

log = logging.getLogger(__name__)
_AGAIN_S = 1.0
_LONGEST_S = 30.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """A text and the session that it is for. `keys` and `boot_id`: the tries so far, as the ledger has them."""

    agent: str
    session_key: str
    from_session: str
    keys: tuple[str, ...]
    boot_id: str
    text: Callable[[int], str]
    """By the number of earlier tries that a crash has interrupted."""
    record: Callable[[tuple[str, ...], str], None]
    """Puts keys and boot id into the ledger, before the gateway is called."""
    step: Callable[[str], Awaitable[None]]
    """The probe of the crash tests, with the name of a step."""
    timeout_s: int | None = None
    """Of the turn; None in a session that has an operator, whose chat also gets the reply."""


async def until_done(attempt: Callable[[], Awaitable[bool]], what: str) -> None:
    """Try until it is done, waiting longer each time. What a try raises is logged: one that fails stops no other."""
    backoff = Backoff(_AGAIN_S, _LONGEST_S)
    while True:
        try:
            if await attempt():
                return
        except Exception:
            log.exception("%s failed; it is tried again", what)
        await backoff.wait()


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


class SessionDelivery:
    """Tries on one gateway."""

    def __init__(self, rpc: GatewayRpc, permit: TurnPermit) -> None:
        self._rpc = rpc
        self.permit = permit
        self.announcements = Announcements(rpc)

    async def arrived(self, delivery: Delivery) -> str | None:
        """The key of the earlier try that has come through, if one has. Waits for the gateway; raises GatewayAway.

        First it waits until the agent may begin a turn.
        """
        await self.permit.wait(delivery.agent)
        await self._rpc.ready.wait()
        return await self.announcements.arrived(delivery.session_key, delivery.keys) if delivery.keys else None

    async def bring(self, delivery: Delivery) -> str | None:
        """One try. Returns its key when it stands in the transcript, None if it never will: try again.

        Raises GatewayAway or Refused.
        """
        boot_id = self._rpc.boot_id
        same_process = (
            bool(delivery.keys) and delivery.boot_id == boot_id
        )  # the same key joins what it has started there
        keys = delivery.keys if same_process else (*delivery.keys, f"{KEY_PREFIX}{uuid.uuid4().hex}")
        delivery.record(keys, boot_id)
        await delivery.step("trying")
        text = delivery.text(len(keys) - 1)
        await self.announcements.announce(
            delivery.agent, delivery.session_key, text, keys[-1], delivery.from_session, delivery.timeout_s
        )
        await delivery.step("accepted")
        if await self.announcements.until_arrived(delivery.session_key, keys[-1], boot_id):
            return keys[-1]
        delivery.record(keys, "")  # that run is over: the next try needs a new key
        return None
