"""Whether a message that came from a stream is its sender's: looked at here before anything of it is believed.

The public keys are in the stream KEYS, which only the provisioner writes. Kept in memory; asked for again for each
message that does not fit, and at once: whoever was made to wait would wait behind a flood of forgeries.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from clawbus.bus.messages import Delivery, stored_of
from clawbus.bus.signing import HEADER, read, verify
from clawbus.errors import InvalidInput, Refused, Unverified
from clawbus.wire.channels import KEYS
from clawbus.wire.envelope import Envelope, decode
from clawbus.wire.events import Event, decode_event
from clawbus.wire.subjects import Subjects

if TYPE_CHECKING:
    from clawbus.bus.bus import Bus

log = logging.getLogger(__name__)
MAX_AGE = timedelta(days=1)
"""How far the signer's clock may be from the server's. What is older is a replay (ledgers remember for 60 days)."""
PUBLISHER = "provisioner"


class Received(Protocol):
    """What is verified: a delivery of a consumer, or a message as a stream holds it."""

    @property
    def subject(self) -> str: ...
    @property
    def data(self) -> bytes: ...
    @property
    def msg_id(self) -> str: ...
    @property
    def headers(self) -> dict[str, str]: ...
    @property
    def at(self) -> datetime | None:
        """When the server stored it, by its clock."""


@dataclass(slots=True)
class _Keys:
    """The public keys of one member: the one that counts, and earlier ones with the moment until which they did."""

    key: str | None = None
    former: list[tuple[str, datetime]] = field(default_factory=list)

    def fits(self, key: str, at: datetime | None) -> bool:
        return key == self.key or any(key == one and at is not None and at <= until for one, until in self.former)


class Verifier:
    """Of one connection. `refused` counts what was turned away, by kind: unsigned, forged, re-addressed, replayed."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._known: dict[tuple[str, str], _Keys] = {}
        self.refused: Counter[str] = Counter()

    async def check(self, message: Received, sent_now: bool = True) -> None:
        """Return if the sender that the subject names has signed this message for this subject.

        `sent_now=False`: a copy that was kept elsewhere, of which the server's time says nothing. Raises Unverified;
        BusAway or Refused if the keys cannot be read: then nothing is known of the message.
        """
        with self._counting():
            await self._check(message, sent_now)

    @contextlib.contextmanager
    def _counting(self) -> Iterator[None]:
        try:
            yield
        except Unverified as error:
            self.refused[error.kind] += 1
            raise

    def count_copy(self, message: Delivery, known_seq: int) -> None:
        """Count a message that was received before as `known_seq` of its stream, if it is another copy of it.

        A copy is never acted on: its receiver has the first one in its ledger.
        """
        seq = message.stream_seq
        if known_seq and seq != known_seq:
            self.refused["replayed"] += 1
            log.warning("%s: message %d is a copy of %d, and was ignored", message.subject, seq, known_seq)

    async def envelope(self, subjects: Subjects, message: Received) -> Envelope:
        """The envelope of a message that its sender has signed. Raises WireError, of which Unverified is one."""
        await self.check(message)  # first, since who has not signed it may have written anything into the subject, too
        with self._counting():
            found = decode(message.data, subjects.parse(message.subject).sender)
            self._same_id(found.id, message)
        return found

    async def event(self, subjects: Subjects, message: Received) -> Event:
        """As `envelope`, for an event of a task."""
        await self.check(message)
        with self._counting():
            found = decode_event(message.data, subjects.parse(message.subject))
            self._same_id(found.id, message)
        return found

    def _same_id(self, said: str, message: Received) -> None:
        if said != message.msg_id:
            raise Unverified("replayed: it was sent under another message id than its own")

    async def _check(self, message: Received, sent_now: bool) -> None:
        claim = read(message.headers.get(HEADER))
        company, sender = message.subject.partition(".")[0], message.subject.rpartition(".")[2]
        if not await self._fits(company, sender, claim.user, message.at):
            raise Unverified(f"forged: it was signed with a key that is not {sender}'s")
        signed_at = verify(claim, message.subject, message.data, message.msg_id, claim.user)
        if sent_now and message.at is not None and abs(message.at - signed_at) > MAX_AGE:
            raise Unverified(
                f"replayed: it was signed at {signed_at:%Y-%m-%d %H:%M} UTC, and sent at {message.at:%Y-%m-%d %H:%M}"
            )

    async def _fits(self, company: str, sender: str, key: str, at: datetime | None) -> bool:
        known = self._known.get((company, sender))
        if known is not None and known.fits(key, at):
            return True
        try:  # a key that was published a moment ago must not lose its first message
            subject = Subjects(company).build("keys", PUBLISHER, member=sender)
        except InvalidInput:
            return False
        known = self._known[company, sender] = await self._look(subject)
        return known.fits(key, at)

    async def _look(self, subject: str) -> _Keys:
        """What KEYS says now. Raises BusAway or Refused."""
        try:
            answer = await self._bus.api(f"STREAM.MSG.GET.{KEYS}", {"last_by_subj": subject})
        except Refused as refusal:
            if "no message found" not in refusal.message:
                raise
            return _Keys()
        said: dict[str, Any] = json.loads(stored_of(answer["message"]).data)
        former = [(one["key"], datetime.fromisoformat(one["until"])) for one in said.get("former", ())]
        return _Keys(said.get("key"), former)
