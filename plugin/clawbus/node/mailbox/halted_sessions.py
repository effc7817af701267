"""When people stop the company: the turns that mail and results have begun are ended, and go on when they may.

A task's turn is its worker's (`haltable_executor`). All others are looked for in the gateway itself, again and again
while it is stopped: what it had queued, and what a restarted gateway resumes, is ended, too. A session whose turn was
ended is told so once, when its agent may work again. A user's own turns, and what they have begun, are not the bus's.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Collection
from typing import Any

from clawbus.errors import GatewayAway, Refused
from clawbus.gateway import GatewayRpc, SessionKey, Turns, bus_session, list_active_runs
from clawbus.node.ledger import InterruptedRun, Ledger
from clawbus.node.mailbox.session_delivery import Delivery, SessionDelivery, until_done
from clawbus.retry import pause
from clawbus.tasks.halt import Halt

log = logging.getLogger(__name__)
NOTE_MARK = "[clawbus note]"
_AGAIN_S = 1.5
_TURN_S = 1_800
_HALT_S = 2.0
"""A run that is being prepared is waited for so long."""


class HaltedSessions:
    """Of the agents of one gateway."""

    def __init__(
        self, rpc: GatewayRpc, session_delivery: SessionDelivery, ledger: Ledger, halt: Halt, agents: Collection[str]
    ) -> None:
        self._rpc = rpc
        self._turns = Turns(rpc)
        self._session_delivery = session_delivery
        self._ledger = ledger
        self._halt = halt
        self._agents = agents
        self._telling: set[str] = set()
        self._begun = asyncio.Event()
        rpc.listeners.append(self._hear)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                for cut in self._ledger.cut.to_tell():
                    if cut.session_key not in self._telling and self._halt.of(cut.agent) is None:
                        self._telling.add(cut.session_key)
                        group.create_task(self._tell(cut), name=f"goes-on-{cut.session_key}")
                stopped = [agent for agent in self._agents if self._halt.is_stopped(agent)]
                if not stopped:
                    await self._halt.news()
                    continue
                try:
                    await self._end_all(stopped)
                except (GatewayAway, Refused) as error:
                    log.debug("turns of the bus cannot be ended yet: %s", error.message)
                self._begun.clear()
                await pause(self._begun, _AGAIN_S)

    def _hear(self, name: str, payload: dict[str, Any]) -> None:
        """Some turn has begun: while people have stopped it, look at once whether it is one to be ended."""
        if name == "agent" and (payload.get("data") or {}).get("phase") == "start":
            self._begun.set()

    async def _end_all(self, agents: Collection[str]) -> None:
        """End what runs. Raises GatewayAway, Refused."""
        of_tasks = {run.session_key: run for run in self._ledger.runs.unfinished()}
        found: list[tuple[str, str | None]] = []
        for active_run in await list_active_runs(self._rpc, agents):
            run = of_tasks.get(active_run.session_key)
            if run is not None and run.state == "started" and run.boot_id == self._rpc.boot_id:
                continue  # its worker ends it, and keeps the outcome if there is one
            if active_run.session_key not in of_tasks:
                self._ledger.cut.add(active_run.session_key, active_run.agent, of_task=False)
            found += [(active_run.session_key, key) for key in active_run.runs or (None,)]
        for session, key in found:
            log.info("ending %s in %s: people have stopped it", key or "all", session)
        for done in await asyncio.gather(
            *(self._turns.abort(session, key, _HALT_S) for session, key in found), return_exceptions=True
        ):
            if isinstance(done, BaseException):
                raise done

    async def _tell(self, cut: InterruptedRun) -> None:
        try:
            await until_done(functools.partial(self._try, cut.session_key), f"telling {cut.session_key} to go on")
        finally:
            self._telling.discard(cut.session_key)

    async def _try(self, session_key: str) -> bool:
        """One try to tell a session. True when it is told, or cannot be."""
        cut = next((row for row in self._ledger.cut.to_tell() if row.session_key == session_key), None)
        if cut is None:
            return True
        delivery = self._delivery(cut)
        try:
            if (
                await self._session_delivery.arrived(delivery) is None
                and await self._session_delivery.bring(delivery) is None
            ):
                return False
        except GatewayAway:
            return False
        except Refused as refusal:
            log.error("the session %s was not told to go on: %s", session_key, refusal)
        self._ledger.cut.told(session_key)
        return True

    def _delivery(self, cut: InterruptedRun) -> Delivery:
        async def step(_name: str) -> None:
            return

        return Delivery(
            cut.agent,
            cut.session_key,
            bus_session(cut.agent, "out"),
            cut.keys,
            cut.boot_id,
            lambda _repeat: _TEXT,
            lambda keys, boot_id: self._ledger.cut.trying(cut.session_key, keys, boot_id),
            step,
            _TURN_S if SessionKey.of_bus(cut.session_key) else None,
        )


_TEXT = (
    f"{NOTE_MARK}\nA person had stopped the company while you were at work in this session, and your turn was ended. "
    "It may go on now. Look at what you had already done before you do it again, then go on; if nothing is left to do, "
    "end your turn."
)
