"""Room: a stream that is nearly full raises an alert, before it refuses what is said next.

Each stream has its bound (`channels.STREAMS`) and an age after which its messages go, so that one fills up only by a
flood, such as that of a stolen key. One whose oldest message makes room for the newest refuses nothing; the guests' is
their own.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import ClassVar

from clawbus.channels import GUEST, STREAMS
from clawbus.errors import Refused
from clawbus.steward.duty import Duty

log = logging.getLogger(__name__)
_RAISED, _CLEARED = 0.75, 0.7
_LATEST = 20


class Room(Duty):
    """An alert's key is the stream's name. It says who has written there last."""

    rule: ClassVar[str] = "room"
    period_s: ClassVar[float | None] = 15.0

    async def tick(self) -> None:
        raised = {alert.key for alert in await self.desk.alerts.raised(self.rule)}
        for stream in STREAMS:
            if stream.discard != "new" or stream.name == GUEST:
                continue
            try:
                await self._look(stream.name, stream.name.lower() in raised)
            except Refused as refusal:  # the others are to be looked at all the same
                log.warning("the stream %s is not looked at: %s", stream.name, refusal.message)

    async def _look(self, name: str, is_raised: bool) -> None:
        info = await self.desk.bus.api(f"STREAM.INFO.{name}")
        part = info["state"]["bytes"] / info["config"]["max_bytes"]
        if part > _RAISED:
            await self._raise(name, part, int(info["state"]["last_seq"]))
        elif is_raised and part < _CLEARED:
            await self.desk.alert(self.rule, name.lower(), False, f"{name} has room again")

    async def _raise(self, name: str, part: float, last: int) -> None:
        pattern = f"{self.desk.org.company}.>"
        latest = await self.desk.bus.stored(name, pattern, max(1, last - _LATEST + 1))
        writers = Counter(one.subject.rpartition(".")[2] for one in latest)  # the server vouches for nothing else there
        named = ", ".join(f"{count} of {sender}" for sender, count in writers.most_common(5))
        text = (
            f"The stream {name} holds {part:.0%} of what it may; when it is full, it refuses what is said next.\n"
            f"Its last {len(latest)} messages: {named}.\n\nStop who floods it: clawbus stop AGENT. Of a stolen key: "
            "clawbus apply --new-key KEY. What it holds goes by its age."
        )
        await self.desk.alert(self.rule, name.lower(), True, text, percent=round(100 * part))
