"""A duty: one concern of the company, in one file under `duties`.

Stewards share their durable consumers. One steward handles each message; if it dies before its ack, another handles the
message again. So all that a duty publishes has an id that follows from its cause (`Context.message_id`): done twice, it
happens once. A duty keeps nothing in memory that the streams cannot give back.
"""

from __future__ import annotations

from typing import Any, ClassVar

from clawbus.steward.context import Context
from clawbus.wire.envelope import Envelope
from clawbus.wire.events import Event
from clawbus.wire.subjects import Parsed


class Duty:
    """Override the calls that the duty needs. If a call raises, its message comes again, a few times."""

    rule: ClassVar[str]
    """An id: the name under which its timers, its alerts and its message ids stand."""
    period_s: ClassVar[float | None] = None
    """The seconds between two calls of `tick`; None: it is never called."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_start(self) -> None:
        """The steward has started."""

    async def on_event(self, event: Event) -> None:
        """There is an event of a task, a broadcast or a blocker (EVENTS)."""

    async def on_end(self, end: Envelope) -> None:
        """An end was written (ENDS). Ask `Context.ends` if it is the one that counts."""

    async def on_broadcast(self, broadcast: Envelope, parsed: Parsed) -> None:
        """There is a message to everyone, a team or a topic (BCAST)."""

    async def on_learning(self, message: Envelope) -> None:
        """There is an insight, or a word about one (LEARN)."""

    async def on_dead(self, task_id: str, letter: dict[str, Any]) -> None:
        """A dead letter was written (DEAD)."""

    async def on_forged(self, subject: str, reason: str) -> None:
        """A reader refused a message on `subject`, since it was not its sender's (any stream that stewards read)."""

    async def on_mail(self, mail: Envelope) -> None:
        """There is a message or a result for the steward itself (INBOX)."""

    async def on_control(self, note: Envelope) -> None:
        """There is a control message for the steward (CTL). Its sender is verified; check that it is a person."""

    async def on_guest(self, subject: str, data: bytes, seq: int) -> None:
        """A guest has published something (GUEST). `seq`: its number in the stream."""

    async def on_timer(self, key: str, body: dict[str, Any]) -> None:
        """A timer of this duty is due."""

    async def tick(self) -> None:
        """Called every `period_s`, for what no message announces."""
