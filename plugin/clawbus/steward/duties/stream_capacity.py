"""Stream capacity: an alert for each stream, disk or account that is nearly full, before it refuses a message.

A stream has its bound (`[streams]`), and its messages go at an age. So only a flood fills it, such as that of a stolen
key. A stream that drops its oldest message refuses nothing. That of the guests is their own concern. Other programs
fill the disk, too; a steward on the company's own machine looks at it. On somebody else's server the account may have a
bound.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import ClassVar

from clawbus.disk import free_bytes, in_words, low_bytes
from clawbus.errors import Refused
from clawbus.steward.duty import Duty
from clawbus.wire.channels import GUEST, STREAMS

log = logging.getLogger(__name__)
_RAISED, _CLEARED = 0.75, 0.7
_LATEST = 20
_DISK, _ACCOUNT = "disk", "account"
_DISK_CLEARED = 1.25


class StreamCapacity(Duty):
    """An alert's key is the stream's name, `disk` or `account`. That of a stream names its latest writers."""

    rule: ClassVar[str] = "room"
    period_s: ClassVar[float | None] = 15.0

    async def tick(self) -> None:
        raised = {alert.key for alert in await self.context.alerts.raised(self.rule)}
        await self._look_at_disk(_DISK in raised)
        await self._look_at_account(_ACCOUNT in raised)
        for stream in STREAMS:
            if stream.discard != "new" or stream.name == GUEST:
                continue
            try:
                await self._look(stream.name, stream.name.lower() in raised)
            except Refused as refusal:  # the other streams still have their turn
                log.warning("the stream %s is not looked at: %s", stream.name, refusal.message)

    async def _look_at_disk(self, is_raised: bool) -> None:
        folder = self.context.bus.store
        if folder is None or (free := free_bytes(folder)) is None:
            return
        low = low_bytes(folder)
        if free < low:
            text = (
                f"The disk of {folder} has {in_words(free)} left; when it is full, nothing more is kept: no task, no "
                "mail, no result.\nFree space there: `df -h` and `du` say what takes it."
            )
            await self.context.alert(self.rule, _DISK, True, text, free=free)
        elif is_raised and free > low * _DISK_CLEARED:
            await self.context.alert(self.rule, _DISK, False, f"the disk has room again: {in_words(free)}")

    async def _look_at_account(self, is_raised: bool) -> None:
        if self.context.bus.store is not None:  # our own server bounds its streams, and nothing else
            return
        account = await self.context.bus.api("INFO")
        most, used = int(account["limits"]["max_storage"]), int(account["storage"])
        part = used / most if most > 0 else 0.0
        if part > _RAISED:
            text = (
                f"The company's account on the nats-server keeps {in_words(used)} of the {in_words(most)} that it may; "
                "then nothing more is kept.\nRaise its storage limit there (max_file, or disk_storage)."
            )
            await self.context.alert(self.rule, _ACCOUNT, True, text, percent=round(100 * part))
        elif is_raised and part < _CLEARED:
            await self.context.alert(self.rule, _ACCOUNT, False, "the account has room again")

    async def _look(self, name: str, is_raised: bool) -> None:
        info = await self.context.bus.api(f"STREAM.INFO.{name}")
        part = info["state"]["bytes"] / info["config"]["max_bytes"]
        if part > _RAISED:
            await self._raise(name, part, int(info["state"]["last_seq"]))
        elif is_raised and part < _CLEARED:
            await self.context.alert(self.rule, name.lower(), False, f"{name} has room again")

    async def _raise(self, name: str, part: float, last: int) -> None:
        pattern = f"{self.context.org.company}.>"
        latest = await self.context.bus.stored(name, pattern, max(1, last - _LATEST + 1))
        # Of all that stands in a message, the server vouches only for the sender in its subject.
        writers = Counter(stored.subject.rpartition(".")[2] for stored in latest)
        named = ", ".join(f"{count} of {sender}" for sender, count in writers.most_common(5))
        text = (
            f"The stream {name} holds {part:.0%} of what it may; when it is full, it refuses what is said next.\n"
            f"Its last {len(latest)} messages: {named}.\n\nStop who floods it: clawbus stop AGENT. Of a stolen key: "
            "clawbus apply --new-key KEY. What it holds goes by its age. If all of it is honest, write "
            f"`{name.lower()} = MIB` under [streams] in org.toml, then clawbus apply."
        )
        await self.context.alert(self.rule, name.lower(), True, text, percent=round(100 * part))
