"""The end of a task: the first write on `<company>.end.<task>.*` by somebody who may end it.

Two parties can end a task at once: the worker is done, and the requester cancels. The server decides. A write names the
last sequence that its writer has seen over the filter, and the server refuses it if there is a newer one (nats-server
ADR-8 and ADR-50). So exactly one write is the first. Only requester, worker, people and steward can end a task. A write
of others, or one that is not signed, does not count, and does not keep the right ones from writing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from clawbus.bus.bus import Bus
from clawbus.errors import EndConflict, WireError
from clawbus.wire.channels import ENDS, EVENTS
from clawbus.wire.envelope import Envelope, Status, now
from clawbus.wire.events import takers_in
from clawbus.wire.subjects import Subjects

_TRIES = 5

Takers = Callable[[str], Collection[str]]


@dataclass(frozen=True, slots=True)
class End:
    """The end of a task: the envelope (type result) that its writer stored. `at`: the time by the server's clock."""

    envelope: Envelope
    seq: int
    at: datetime

    @property
    def status(self) -> Status:
        return self.envelope.status or "failed"

    @property
    def by(self) -> str:
        return self.envelope.sender


def _itself(to: str) -> Collection[str]:
    return (to,)


class Ends:
    """Reads and writes ends.

    `may_end`: those who may end any task (people, steward). `takers`: the agents that may be the worker of a task for
    an agent, a team or a pool (`Org.may_take`).
    """

    def __init__(self, bus: Bus, subjects: Subjects, may_end: Collection[str], takers: Takers = _itself) -> None:
        self._bus = bus
        self._subjects = subjects
        self._may_end = frozenset(may_end)
        self._takers = takers

    async def read(self, task_id: str, requester: str, to: str) -> End | None:
        """The end of a task; None while it has none. Raises BusAway."""
        end, _ = await self._look(task_id, requester, to)
        return end

    async def write(self, envelope: Envelope, requester: str, to: str) -> tuple[bool, End]:
        """Try to end a task as `envelope.sender`. Returns (True, this end) or (False, the end that was first).

        Another try after a lost ack is safe: an end with the same message id counts as this one.
        """
        task_id = envelope.task_id or ""
        last = 0
        for _ in range(_TRIES):
            with contextlib.suppress(EndConflict):
                ack = await self._bus.publish(
                    self._subjects.end(task_id, envelope.sender),
                    envelope.encode(),
                    msg_id=envelope.id,
                    last_seq=(self._subjects.ends_of(task_id), last),
                )
                if not ack.duplicate:
                    return True, End(envelope, ack.seq, now())
            end, last = await self._look(task_id, requester, to)
            if end is not None:
                return end.envelope.id == envelope.id, end
        raise EndConflict(f"no end could be written for task {task_id}", "Others keep writing on its subject.")

    async def _look(self, task_id: str, requester: str, to: str) -> tuple[End | None, int]:
        """The first end that counts, and the last sequence seen on the filter."""
        pattern, seq, others = self._subjects.ends_of(task_id), 0, list[End]()
        parties = {requester, *self._takers(to)} | self._may_end
        while (stored := await self._bus.next_message(ENDS, pattern, seq + 1)) is not None:
            seq = stored.seq
            try:
                envelope = await self._bus.verifier.envelope(self._subjects, stored)
            except WireError:
                continue
            if envelope.task_id != task_id or not envelope.status:
                continue
            others.append(End(envelope, seq, stored.at))
            if envelope.sender in parties:
                break
        # A member that has left its team or pool since may have ended a task that was given before.
        former = await self._takers_then(task_id, requester) if others and others[0].by not in parties else ()
        return next((end for end in others if end.by in parties or end.by in former), None), seq

    async def _takers_then(self, task_id: str, requester: str) -> Collection[str]:
        """The members of a team or pool that could take the task when it was given, as its requester has said."""
        stored = await self._bus.next_message(EVENTS, self._subjects.event(task_id, requester))
        if stored is None:
            return ()
        try:
            event = await self._bus.verifier.event(self._subjects, stored)
        except WireError:
            return ()
        return takers_in(event) if event.kind == "accepted" else ()
