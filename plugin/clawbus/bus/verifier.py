"""Checks that a message of a stream is its sender's, before anything of it is believed.

The public keys are in the stream KEYS, which only the provisioner writes.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from clawbus.bus.messages import Delivery, Stored
from clawbus.bus.signing import HEADER, read, verify
from clawbus.errors import InvalidInput, Unverified
from clawbus.wire.channels import KEYS
from clawbus.wire.envelope import Envelope, decode
from clawbus.wire.events import Event, decode_event
from clawbus.wire.subjects import Subjects

log = logging.getLogger(__name__)
MAX_AGE = timedelta(days=1)
"""The greatest difference between the signer's clock and the server's. An older message is a replay; ledgers
remember ids for 60 days."""
PUBLISHER = "provisioner"


class Received(Protocol):
    """A message to verify: a delivery of a consumer, or one as a stream holds it."""

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
        """The moment at which the server stored it, by its clock."""


@dataclass(slots=True)
class _Keys:
    """The public keys of one member: the valid one, and earlier ones with the moment at which they ended."""

    key: str | None = None
    former: list[tuple[str, datetime]] = field(default_factory=list)

    def fits(self, key: str, at: datetime | None) -> bool:
        """True if the member held `key` at that moment."""
        return key == self.key or any(key == old and at is not None and at <= until for old, until in self.former)


class Verifier:
    """Verifies for one connection. `refused` counts by kind: unsigned, forged, re-addressed, replayed."""

    def __init__(self, last_message: Callable[[str, str], Awaitable[Stored | None]]) -> None:
        """`last_message(stream, subject)`: see `Bus.last_message`."""
        self._last_message = last_message
        self._known: dict[tuple[str, str], _Keys] = {}
        self.refused: Counter[str] = Counter()

    async def check(self, message: Received, sent_now: bool = True) -> None:
        """Return if the sender that the subject names has signed this message for this subject.

        `sent_now=False`: it is a copy that was kept elsewhere, and the server's time says nothing of it.
        Raises Unverified, or BusAway or Refused if the keys cannot be read: then nothing is known of the message.
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
        """Count and log a message as a replay, if it was received before under another sequence, `known_seq`.

        0: it was not received before. Nobody acts on a copy: the receiver's ledger has the first one.
        """
        seq = message.stream_seq
        if known_seq and seq != known_seq:
            self.refused["replayed"] += 1
            log.warning("%s: message %d is a copy of %d, and was ignored", message.subject, seq, known_seq)

    async def envelope(self, subjects: Subjects, message: Received) -> Envelope:
        """The envelope of a message that its sender has signed. Raises WireError (Unverified is one), or as `check`."""
        await self.check(message)  # first: without a signature anything may stand in the subject, too
        with self._counting():
            found = decode(message.data, subjects.parse(message.subject).sender)
            self._same_id(found.id, message)
        return found

    async def event(self, subjects: Subjects, message: Received) -> Event:
        """The event of a task that its sender has signed. Raises as `envelope`."""
        await self.check(message)
        with self._counting():
            found = decode_event(message.data, subjects.parse(message.subject))
            self._same_id(found.id, message)
        return found

    def _same_id(self, inner_id: str, message: Received) -> None:
        if inner_id != message.msg_id:
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
        # The keys are read anew for each message that does not fit: one may have been published a moment ago. There is
        # no pause between two looks: a flood of forgeries would make honest senders wait.
        try:
            subject = Subjects(company).build("keys", PUBLISHER, member=sender)
        except InvalidInput:
            return False
        known = self._known[company, sender] = await self._read_keys(subject)
        return known.fits(key, at)

    async def _read_keys(self, subject: str) -> _Keys:
        """The keys that the stream KEYS has under a subject now. Raises BusAway or Refused."""
        stored = await self._last_message(KEYS, subject)
        if stored is None:
            return _Keys()
        published: dict[str, Any] = json.loads(stored.data)
        former = [(old["key"], datetime.fromisoformat(old["until"])) for old in published.get("former", ())]
        return _Keys(published.get("key"), former)
