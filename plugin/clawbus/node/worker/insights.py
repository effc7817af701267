"""The insights of the company for a worker's turn: those in use, and those that wait for somebody to confirm them.

A turn that is asked for again after a crash must read the same to the letter. So what counts is what stood there when
the task was made, and a task waits for the bus if it cannot be asked.
"""

from __future__ import annotations

import contextlib

from clawbus.bus import Bus
from clawbus.errors import BusAway, WireError
from clawbus.org import EXTERNAL, Org
from clawbus.retry import retry
from clawbus.tasks.learning import Insight, Learned, fold
from clawbus.wire.channels import LEARN
from clawbus.wire.envelope import Envelope
from clawbus.wire.subjects import Subjects

IN_USE, OPEN = 5, 3
"""So many of each go with a task, the newest: every turn pays for them."""
_MAX_CHARS = 400
_ASKS = (
    "Not confirmed yet. If your work shows you that one holds, say so: nats_pub to learning, type confirm, with its id "
    "as taskId."
)
_AGAIN_S = 0.5


class Insights:
    """The insights of one gateway. Each look reads the stream as far as it has grown since the last one."""

    def __init__(self, bus: Bus, org: Org, gateway: str) -> None:
        self._bus = bus
        self._org = org
        self._gateway = gateway
        self._pattern = Subjects(org.company).everything("learning")
        self._seq = 0
        self._said: list[Learned] = []

    async def below(self, task: Envelope) -> str:
        """The text that stands below a task in its frame; empty if there is nothing."""
        await retry(self._read_on, BusAway, _AGAIN_S)
        moment = task.created_at
        known = [*fold((said for said in self._said if said.at <= moment), self._org, moment).values()]
        used = [f"- {_line(insight)}" for insight in known if insight.state == "promoted"][-IN_USE:]
        asked = [f"- {insight.id}: {_line(insight)}" for insight in known if self._may_confirm(insight)][-OPEN:]
        parts = ["Confirmed, and in use:", *reversed(used)] if used else []
        if asked:
            parts += [_ASKS, *reversed(asked)]
        return "\n".join(parts)

    def _may_confirm(self, insight: Insight) -> bool:
        """A guest's is for people to look at: nobody knows whose it is."""
        mine = self._gateway in (insight.gateway, *insight.confirmed_by)
        return insight.state == "open" and insight.author != EXTERNAL and not mine

    async def _read_on(self) -> None:
        subjects = Subjects(self._org.company)
        while (stored := await self._bus.next_message(LEARN, self._pattern, self._seq + 1)) is not None:
            said = []
            with contextlib.suppress(WireError):
                said = [Learned(await self._bus.verifier.envelope(subjects, stored), stored.at)]
            if stored.seq > self._seq:  # another turn that begins at the same time may have been faster
                self._seq = stored.seq
                self._said += said


def _line(insight: Insight) -> str:
    text = " ".join(f"{insight.subject}: {insight.text}".removeprefix(": ").split())
    return (
        f"{text if len(text) <= _MAX_CHARS else text[:_MAX_CHARS] + '…'} (found by {insight.author}, {insight.trust} %)"
    )
