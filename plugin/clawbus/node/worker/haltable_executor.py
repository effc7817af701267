"""An executor that obeys what people have ordered (ADR 21): while it is stopped, nothing begins, and what runs ends.

The task waits here unacked, under its lease, and it is no strike; when it goes on it is begun anew. While only its
agent is paused, a turn that runs goes on to its end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from clawbus.bus import ServerClock
from clawbus.errors import GatewayAway
from clawbus.node.ledger import Ledger, Run
from clawbus.node.mailbox import Outbox
from clawbus.node.worker.executor import Executor, Slots, result
from clawbus.tasks.halt import Halt
from clawbus.tasks.halt_orders import ALL, Order
from clawbus.wire.envelope import Envelope

log = logging.getLogger(__name__)
_AGAIN_S = 0.5


class HaltableExecutor:
    """Wraps an executor; a `Worker` works with it.

    `is_unfit`: True while nothing may be tried for an agent, since its gateway fails every turn. `clock`: the server's.
    """

    def __init__(
        self,
        executor: Executor,
        halt: Halt,
        is_unfit: Callable[[str], bool],
        slots: Slots,
        clock: ServerClock,
        ledger: Ledger,
        outbox: Outbox,
    ) -> None:
        self._executor = executor
        self._halt = halt
        self._is_unfit = is_unfit
        self._slots = slots
        self._clock = clock
        self._ledger = ledger
        self._outbox = outbox
        self.ready, self.gone = asyncio.Event(), asyncio.Event()
        self.on_change: list[Callable[[bool], None]] = []
        self.gone.set()
        executor.on_change.append(lambda _ready: self._look())
        halt.on_change.append(self._look)

    def barred(self, agent: str) -> bool:
        """See `WorkerExecutor`."""
        return self._halt.of(agent) is not None or self._is_unfit(agent)

    def _look(self) -> None:
        """Tasks are taken while the executor can do them, and the company is known not to be stopped."""
        ready = self._executor.ready.is_set() and self._halt.of(ALL) is None
        if ready == self.ready.is_set():
            return
        (self.ready if ready else self.gone).set()
        (self.gone if ready else self.ready).clear()
        for callback in list(self.on_change):
            callback(ready)

    async def outcome(self, run: Run) -> Envelope:
        """See `Executor`. It ends as timed out what has expired while it waited here. Raises BusAway: call it again."""
        while True:
            if self._halt.of(run.worker) is not None:
                run = await self._wait(run)
                if run.state == "held" and await self._clock.has_passed(run.task.expires_at):
                    return result(run, "timed_out", "it expired while a person had stopped or paused its agent")
            doing = asyncio.create_task(self._executor.outcome(run), name=f"doing-{run.task_id}")
            stopped = asyncio.create_task(self._halt.until_stopped(run.worker))
            try:
                await asyncio.wait({doing, stopped}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                stopped.cancel()
                doing.cancel()
                await asyncio.gather(doing, stopped, return_exceptions=True)
            if not doing.cancelled():
                return doing.result()
            order = self._halt.of(run.worker)
            self._outbox.event("interrupted", run.task_id, run.worker, why=str(order or ""), given_back=True)
            run = self._ledger.runs.get(run.task_id) or run

    async def _wait(self, run: Run) -> Run:
        """Until it may go on. What runs in the gateway is ended first, also what an earlier life of this node began."""
        ended = False
        while (order := self._halt.of(run.worker)) is not None:
            run = self._ledger.runs.get(run.task_id) or run
            if order.state == "paused" and run.state == "started":
                break
            if order.state == "stopped" and run.state == "started" and not ended:
                ended = await self._end(run, order)
            else:
                if order.target == run.worker:  # others of the gateway go on meanwhile
                    self._slots.release(run.task_id)
                await self._halt.news()
        return self._ledger.runs.get(run.task_id) or run

    async def _end(self, run: Run, order: Order) -> bool:
        """Stop its turn. False if the gateway is away: try again."""
        try:
            await self._executor.halt(run)
        except GatewayAway:
            await asyncio.sleep(_AGAIN_S)
            return False
        log.info("task %s waits: %s", run.task_id, order)
        return True

    async def stop(self, run: Run) -> None:
        """See `Executor`."""
        await self._executor.stop(run)

    async def halt(self, run: Run) -> None:
        """See `Executor`."""
        await self._executor.halt(run)
