"""The last message of a subject: the state of what is kept there."""

from __future__ import annotations

from clawbus.bus.bus import Bus
from clawbus.bus.messages import Stored, stored_of
from clawbus.errors import Refused


async def last_message(bus: Bus, stream: str, subject: str) -> Stored | None:
    """The newest stored message of a subject, None if there is none. Raises BusAway or Refused."""
    try:
        answer = await bus.api(f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject})
    except Refused as refusal:
        if "no message found" in refusal.message:
            return None
        raise
    return stored_of(answer["message"])
