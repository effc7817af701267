"""A task that has raised a blocker is not done with the turn that raised it: it waits for the answer.

The agent ends its turn; the answer (of the superior, or of whoever it climbed to) is brought into the task's session,
and the reply of that turn is the task's result. What is waited for stands in the ledger: a restart goes on waiting.
"""

from __future__ import annotations

import asyncio

from clawbus.gateway import TurnResult, Turns
from clawbus.node.ledger import Ledger, Run
from clawbus.node.mailbox import Outbox
from clawbus.node.worker.executor import Slots

_LOOK_S = 0.5


class BlockerWait:
    """The answers that the tasks of one gateway wait for. A task needs no slot meanwhile."""

    def __init__(self, turns: Turns, ledger: Ledger, outbox: Outbox, slots: Slots) -> None:
        self._turns = turns
        self._raised = ledger.raised
        self._outbox = outbox
        self._slots = slots

    async def last_word(self, run: Run, turn: TurnResult) -> TurnResult:
        """The turn that counts: this one, or the one that has heard the answer to the task's newest blocker.

        Raises TurnLost if the gateway was restarted under that one.
        """
        heard = ""
        while turn.outcome == "done" or turn.mute:
            blocker = self._raised.latest(run.session_key)
            if blocker is None or blocker.thread == heard:
                break
            if not blocker.key:
                await self._wait(run, blocker.thread)
                continue
            turn = await self._turns.wait(run.session_key, blocker.key, blocker.boot_id)
            heard = blocker.thread
        return turn

    async def _wait(self, run: Run, thread: str) -> None:
        """Until the answer has been brought into the session, or a newer blocker was raised there."""
        self._outbox.event(
            "progress", run.task_id, run.worker, what="waits for the answer to its blocker", blocker=thread
        )
        self._slots.release(run.task_id)
        while (now := self._raised.latest(run.session_key)) is not None and now.thread == thread and not now.key:  # noqa: ASYNC110 - the ledger has it
            await asyncio.sleep(_LOOK_S)
