"""The minutes and tokens of each task's turn, written into the account of its tree. Not every gateway tells tokens.

Minutes are those of the attempt that brought the outcome, from the call that started it; they include what the turn
waited for. Said again, by a turn that was stopped as it ended or after a crash, the last record counts (`budget`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from clawbus.errors import ClawbusError, InvalidInput
from clawbus.node.ledger import Ledger, Run
from clawbus.node.mailbox import Outbox
from clawbus.node.worker.executor import Executor
from clawbus.tasks.budget import Record
from clawbus.wire.envelope import Envelope
from clawbus.wire.subjects import Subjects, new_message_id

Tokens = Callable[[str, str], Awaitable[int | None]]
"""From a session's key and a run's to what that run has used; None if it is not told."""
_TOKENS_S = 5.0


async def _untold(_session_key: str, _key: str) -> int | None:
    return None


class MeteredExecutor:
    """An executor whose turns are counted."""

    def __init__(
        self, executor: Executor, ledger: Ledger, outbox: Outbox, subjects: Subjects, tokens: Tokens = _untold
    ) -> None:
        self._executor = executor
        self._ledger = ledger
        self._outbox = outbox
        self._subjects = subjects
        self._tokens = tokens
        self.ready, self.gone, self.on_change = executor.ready, executor.gone, executor.on_change

    async def outcome(self, run: Run) -> Envelope:
        """See `Executor`."""
        outcome = await self._executor.outcome(run)
        await self._report(run)
        return outcome

    async def stop(self, run: Run) -> None:
        """See `Executor`. What it had taken until then counts, too."""
        await self._executor.stop(run)
        await self._report(run)

    async def halt(self, run: Run) -> None:
        """See `Executor`."""
        await self._executor.halt(run)

    async def _report(self, run: Run) -> None:
        latest, began = self._ledger.runs.get(run.task_id), self._ledger.runs.began(run.task_id)
        if latest is None or began is None:
            return
        tokens: int | None = None
        try:
            async with asyncio.timeout(_TOKENS_S):
                tokens = await self._tokens(latest.session_key, latest.key)
        except (ClawbusError, TimeoutError):  # the gateway is away, or does not say: minutes are known here
            pass
        minutes = max(0.0, (datetime.now(UTC) - began).total_seconds() / 60)
        record = Record(kind="used", task=run.task_id, minutes=round(minutes, 4), tokens=tokens)
        try:
            subject = self._subjects.build("spend", run.worker, trace=run.task.trace_id or run.task_id)
        except InvalidInput:  # its tree is none
            return
        self._outbox.later(subject, new_message_id(run.worker), record.encode())
