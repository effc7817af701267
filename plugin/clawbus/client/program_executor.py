"""A Python program as the executor of tasks: a handler per agent, the same bookkeeping as for a gateway's turns."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping

from clawbus.client.values import Task, task_of
from clawbus.errors import ClawbusError
from clawbus.node.ledger import Ledger, Run
from clawbus.node.mailbox import Outbox
from clawbus.node.worker import bounded, result
from clawbus.org import Org
from clawbus.org.tool_bounds import bound_of
from clawbus.wire.envelope import Envelope
from clawbus.wire.events import Kind

log = logging.getLogger(__name__)
Handler = Callable[[Task], Awaitable[str]]
_DEADLINE_S = 1800


class ProgramExecutor:
    """Runs handlers. An attempt that the death of this process cuts short is a strike; being stopped is none."""

    def __init__(self, handlers: Mapping[str, Handler], ledger: Ledger, outbox: Outbox, org: Org) -> None:
        self._handlers = handlers
        self._org = org
        self._shared = org.groups
        self._ledger = ledger
        self._outbox = outbox
        self._strikes = org.policies.strikes
        self._life = uuid.uuid4().hex
        self.ready, self.gone = asyncio.Event(), asyncio.Event()
        self.on_change: list[Callable[[bool], None]] = []
        self.ready.set()

    async def outcome(self, run: Run) -> Envelope:
        """One attempt, or the end of a task whose attempts have all died. See `worker.Doer`."""
        if run.attempt >= self._strikes:
            return result(run, "dead", f"{run.attempt} attempts were started, and each was interrupted")
        attempt = self._ledger.runs.starting(run.task_id, uuid.uuid4().hex, self._life)
        kind: Kind = "started" if attempt == 1 else "retrying"
        try:
            if run.task.to in self._shared:  # if this kills the process, the next member must know that it was tried
                await self._outbox.event_now(kind, run.task_id, run.worker, attempt=attempt)
            else:
                self._outbox.event(kind, run.task_id, run.worker, attempt=attempt)
            return await self._attempt(run, attempt)
        except asyncio.CancelledError:
            self._ledger.runs.not_started(run.task_id)
            raise

    async def _attempt(self, run: Run, attempt: int) -> Envelope:
        allowed_s = run.task.run_timeout_s or _DEADLINE_S
        try:
            async with asyncio.timeout(allowed_s) as bound:
                text = await self._handlers[run.worker](task_of(run.task, attempt, bound_of(self._org, run.task)))
        except Exception as error:
            if isinstance(error, TimeoutError) and bound.expired():
                return result(run, "timed_out", f"the program did not answer within {allowed_s} s")
            if isinstance(error, ClawbusError):
                return result(run, "failed", bounded(str(error), "the rest was not kept"))
            log.exception("the handler of %s failed at task %s", run.worker, run.task_id)
            return result(run, "failed", bounded(f"{type(error).__name__}: {error}", "the rest was not kept"))
        if not isinstance(text, str):
            return result(run, "failed", f"the handler of {run.worker} returned {type(text).__name__}, not a text")
        return result(run, "done", bounded(text, "the rest was not kept"))

    async def stop(self, run: Run) -> None:
        """The handler was cancelled with its attempt: nothing is left of it."""

    async def halt(self, run: Run) -> None:
        """Likewise; it was no strike."""
