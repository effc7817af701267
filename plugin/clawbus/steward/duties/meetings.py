"""Meetings: a person (`clawbus meet`) or [[recurring]] calls one. It ends at its deadline, or when all have spoken."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any, ClassVar

from clawbus.errors import InvalidInput, WireError
from clawbus.steward import meeting
from clawbus.steward.duty import Duty
from clawbus.steward.meeting import Meeting
from clawbus.wire.envelope import Envelope, now
from clawbus.wire.strict_json import read_object
from clawbus.wire.subjects import Parsed, check_task_id

log = logging.getLogger(__name__)
ORDER = "meet"
"""The subject of a person's order, a control message to the steward. Its body: {"of", "agenda", "lasts_s"}."""
_LONGEST_S = 86_400


class Meetings(Duty):
    """A timer of this duty is the deadline of a meeting. Its key is the meeting's id."""

    rule: ClassVar[str] = meeting.RULE

    async def on_control(self, note: Envelope) -> None:
        if note.subject != ORDER or note.sender not in self.context.org.people:
            return
        try:
            check_task_id("task_id", note.task_id or "")
            order = _order(read_object(note.body))
            meeting.members(self.context.org, order["of"])
        except (ValueError, TypeError, KeyError, OverflowError, InvalidInput, WireError) as error:
            log.warning("a meeting that %s has called is refused: %s", note.sender, error)
            return
        self.context.check_running()
        deadline = now() + timedelta(seconds=order["lasts_s"])
        called = Meeting(note.task_id or "", order["of"], order["agenda"], deadline, note.sender)
        await meeting.begin(self.context, called)

    async def on_broadcast(self, broadcast: Envelope, parsed: Parsed) -> None:
        """End the meeting if this was the last contribution that it waits for."""
        if broadcast.type != "contribution" or parsed.channel != "topics" or parsed.tokens["kind"] != "meeting":
            return
        body = await self.context.timer(self.rule, parsed.tokens["name"])
        if body is None:  # it has ended, or was never called
            return
        held = Meeting.read(parsed.tokens["name"], body)
        asked = {*meeting.asked(self.context.org, held.of)}
        if asked and asked <= {*await meeting.contributions(self.context, held)}:
            await meeting.end(self.context, held)

    async def on_timer(self, key: str, body: dict[str, Any]) -> None:
        await meeting.end(self.context, Meeting.read(key, body))


def _order(body: dict[str, Any]) -> dict[str, Any]:
    """The fields of an order. Raises ValueError, TypeError or KeyError if it is none."""
    lasts_s = min(max(int(body["lasts_s"]), 1), _LONGEST_S)
    return {"of": str(body["of"]), "agenda": str(body["agenda"]), "lasts_s": lasts_s}
