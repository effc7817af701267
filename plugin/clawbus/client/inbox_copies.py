"""The copies of results in a person's inbox: the copy of a result that was seen is acknowledged.

The worker sends the copy right after the end. Other mail that is fetched with it is given back at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection

from clawbus.bus import Bus, Delivery, fetch_now, person_reader
from clawbus.errors import BusAway, WireError
from clawbus.wire.channels import INBOX
from clawbus.wire.subjects import Subjects

_BATCH = 256
_MOST_ASIDE = 4096
_TRIES = 15
_AGAIN_S = 0.1


class InboxCopies:
    """The copies in one person's inbox."""

    def __init__(self, bus: Bus, subjects: Subjects, me: str) -> None:
        self._bus = bus
        self._subjects = subjects
        self._durable = person_reader(me)
        self._one_at_a_time = asyncio.Lock()

    async def drop(self, task_ids: Collection[str], tries: int = _TRIES) -> set[str]:
        """Acknowledge the copies of these results. Returns those whose copy has not come yet. Raises BusAway."""
        left = set(task_ids)
        for again in range(tries):
            if again:
                await asyncio.sleep(_AGAIN_S)
            async with self._one_at_a_time:
                await self._sweep(left)
            if not left:
                break
        return left

    async def _sweep(self, left: set[str]) -> None:
        aside: list[Delivery] = []
        try:
            while left and len(aside) < _MOST_ASIDE:
                batch = await fetch_now(self._bus, INBOX, self._durable, _BATCH)
                mine = {
                    delivery.ack_subject: task for delivery in batch if (task := await self._task(delivery)) in left
                }
                aside += [delivery for delivery in batch if delivery.ack_subject not in mine]
                await asyncio.gather(*(self._bus.ack(subject) for subject in mine))
                left -= set(mine.values())
                if len(batch) < _BATCH:
                    break
        finally:
            with contextlib.suppress(BusAway):
                for delivery in aside:
                    await self._bus.nak(delivery.ack_subject)

    async def _task(self, delivery: Delivery) -> str:
        with contextlib.suppress(WireError):
            envelope = await self._bus.verifier.envelope(self._subjects, delivery)
            return (envelope.task_id or "") if envelope.type == "result" else ""
        return ""
