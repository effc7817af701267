"""The end of a task: the first write on `<company>.end.<task>.*` by somebody who may end it.

Two parties can finish a task at once (the worker is done, the requester cancels). The server decides: a write
expects that the filter's last sequence is what its writer has seen (nats-server ADR-8 and ADR-50: expected last subject
sequence over a filter), so that exactly one write is the first. What others than requester, worker, people and
steward write there does not count, and cannot keep the right ones from writing; nor does what is not signed.
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
    """How a task ended: the envelope (type result) that its writer stored, and when the server took it."""

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
    """Reads and writes ends. `may_end` names who may end any task (people, steward).

    `takers` says who may be the worker of what is addressed to an agent, a team or a pool (`Org.may_take`). Who has
    left one since may have ended what was given before: who that is, the requester said when he gave it.
    """

    def __init__(self, bus: Bus, subjects: Subjects, may_end: Collection[str], takers: Takers = _itself) -> None:
        self._bus = bus
        self._subjects = subjects
        self._may_end = frozenset(may_end)
        self._takers = takers

    async def read(self, task_id: str, requester: str, to: str) -> End | None:
        """The end of a task, None while it has none. Raises BusAway."""
        end, _ = await self._look(task_id, requester, to)
        return end

    async def write(self, envelope: Envelope, requester: str, to: str) -> tuple[bool, End]:
        """Try to end a task as `envelope.sender`. Returns (True, ours) or (False, the end that was first).

        Trying again after a lost ack is safe: an end that this same message wrote counts as ours.
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
        former = await self._takers_then(task_id, requester) if others and others[0].by not in parties else ()
        return next((one for one in others if one.by in parties or one.by in former), None), seq

    async def _takers_then(self, task_id: str, requester: str) -> Collection[str]:
        """Who might take a task for a team or a pool when it was given."""
        stored = await self._bus.next_message(EVENTS, self._subjects.event(task_id, requester))
        if stored is None:
            return ()
        try:
            said = await self._bus.verifier.event(self._subjects, stored)
        except WireError:
            return ()
        return takers_in(said) if said.kind == "accepted" else ()
