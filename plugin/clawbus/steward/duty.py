"""What a duty is: one concern of the company, in one small file under `duties`.

Stewards share their durables: one of them handles each message, and another handles it again if the first dies before
its ack. So whatever a duty does carries an id that follows from its cause (`Context.message_id`): done twice, it
happens once.
A duty keeps nothing in memory that the streams cannot give back.
"""

from __future__ import annotations

from typing import Any, ClassVar

from clawbus.steward.context import Context
from clawbus.wire.envelope import Envelope
from clawbus.wire.events import Event
from clawbus.wire.subjects import Parsed


class Duty:
    """Override what the duty listens to. Each call may raise: then its message comes again, a few times."""

    rule: ClassVar[str]
    """Its name: of its timers, its alerts and its message ids. An id."""
    period_s: ClassVar[float | None] = None
    """How often `tick` is called, for what no message announces."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_start(self) -> None:
        """The steward has started."""

    async def on_event(self, event: Event) -> None:
        """Something was said of a task, a broadcast, a blocker (EVENTS)."""

    async def on_end(self, end: Envelope) -> None:
        """An end was written (ENDS). Whether it is the one that counts, `Context.ends` knows."""

    async def on_broadcast(self, said: Envelope, parsed: Parsed) -> None:
        """Something was said to everyone, a team or a topic (BCAST)."""

    async def on_learning(self, said: Envelope) -> None:
        """An insight, or what others say of it (LEARN)."""

    async def on_dead(self, task_id: str, letter: dict[str, Any]) -> None:
        """A dead letter was put down (DEAD)."""

    async def on_forged(self, subject: str, reason: str) -> None:
        """A message on this subject was not its sender's, and was turned away (any stream that stewards read)."""

    async def on_mail(self, mail: Envelope) -> None:
        """A message or a result for the steward itself (INBOX)."""

    async def on_control(self, note: Envelope) -> None:
        """A person's order to the steward (CTL). Its sender is what the subject says."""

    async def on_guest(self, subject: str, data: bytes, seq: int) -> None:
        """A guest has said something (GUEST)."""

    async def on_timer(self, key: str, body: dict[str, Any]) -> None:
        """A timer of this duty is due."""

    async def tick(self) -> None:
        """Every `period_s`."""
