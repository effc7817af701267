"""Messages and errors of nats-server, read into values of our own."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from nats.aio.msg import Msg

from clawbus.bus.quota_errors import no_room
from clawbus.errors import BusAway, ClawbusError, EndConflict, Refused

ANSWER_S = 5.0
"""The time within which the server has to answer."""
# Codes of nats-server's errors.json.
NO_MESSAGE = 10037
_WRONG_LAST_SEQUENCE = (10071, 10164)  # JSStreamWrongLastSequenceErrF and its constant form
MISSING = (10059, 10014)
"""No such stream, no such consumer."""
NOT_WRITTEN = (10049, 10069, 10012)
"""A stream could not be made or changed, or a consumer not made. A full disk has no code of its own."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that a durable consumer handed out, under a lease.

    `ack_subject` is valid until the lease ends, also after a reconnect or a restart of this process; so the ledger
    keeps it (docs.nats.io, "JetStream wire API: acking messages").
    """

    subject: str
    data: bytes
    ack_subject: str
    msg_id: str
    stream_seq: int
    delivered: int
    """The number of times that the server has handed it out, this time included."""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def at(self) -> datetime | None:
        """The moment at which the server stored it, by its clock; None without an ack subject."""
        tokens = self.ack_subject.split(".")
        if len(tokens) < 9:
            return None
        return datetime.fromtimestamp(int(tokens[7 if len(tokens) == 9 else 9]) / 1e9, UTC)


def handed_out(ack_subject: str) -> int:
    """The number of times that a message had been handed out when this ack subject came with it.

    `$JS.ACK.<stream>.<consumer>.<delivered>.<seq>…`, or with domain and account before the stream (nats-server ADR-15).
    """
    tokens = ack_subject.split(".")
    return int(tokens[4 if len(tokens) == 9 else 6])


def stored_seq(ack_subject: str) -> int:
    """The message's sequence in its stream, from its ack subject; 0 without one."""
    tokens = ack_subject.split(".")
    return int(tokens[5 if len(tokens) == 9 else 7]) if len(tokens) >= 9 else 0


@dataclass(frozen=True, slots=True)
class Ack:
    """The server has stored a message. `duplicate`: it has one of that id already, and keeps that one."""

    seq: int
    duplicate: bool


class Message(Protocol):
    """A message as a listener gets it: the part of nats-py's that others may know."""

    subject: str
    data: bytes
    reply: str

    @property
    def headers(self) -> dict[str, str] | None: ...


@dataclass(frozen=True, slots=True)
class Stored:
    """A message as a stream holds it."""

    seq: int
    subject: str
    data: bytes
    at: datetime
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def msg_id(self) -> str:
        return self.headers.get("Nats-Msg-Id", "")


async def one_batch(answers: asyncio.Queue[Msg]) -> tuple[list[Stored], bool]:
    """The messages of one batch of direct get; True if more messages wait behind them. Raises BusAway."""
    found: list[Stored] = []
    while True:
        try:
            async with asyncio.timeout(ANSWER_S):
                message = await answers.get()
        except TimeoutError:
            raise BusAway("the bus did not answer", "It will be tried again.") from None
        headers = message.headers or {}
        if headers.get("Status") in ("204", "404"):
            return found, bool(found) and headers.get("Nats-Num-Pending", "0") != "0"
        if "Nats-Sequence" not in headers:
            raise BusAway(
                f"the stream cannot be read: {headers.get('Status')} {headers.get('Description')}",
                "Run `clawbus up`: it makes the streams.",
            )
        found.append(
            Stored(
                int(headers["Nats-Sequence"]),
                headers["Nats-Subject"],
                message.data,
                parse_time(headers["Nats-Time-Stamp"]),
                dict(headers),
            )
        )


def stored_of(raw: dict[str, Any]) -> Stored:
    """A message as the stream's API gives it."""
    data, headers = base64.b64decode(raw.get("data", "")), _headers(base64.b64decode(raw.get("hdrs", "")))
    return Stored(int(raw["seq"]), raw["subject"], data, parse_time(raw["time"]), headers)


def _headers(block: bytes) -> dict[str, str]:
    """The headers of a block `NATS/1.0`. Of a name that stands twice the first counts, as in nats-py."""
    found: dict[str, str] = {}
    for line in block.decode("utf-8", "replace").split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    return found


def parse_time(stamp: str) -> datetime:
    """The moment of a stamp of the server (RFC 3339, nanoseconds)."""
    # Python 3.11 reads no more than six digits.
    head, _, tail = stamp.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{head}.{(tail + '000000')[:6]}+00:00")


def translate(error: dict[str, Any], subject: str, own: bool = False) -> ClawbusError:
    """Our error for one of JetStream's API, by its `err_code`.

    `subject`: the one that was published, or the method; `own`: True if the server is the company's own.
    """
    code, text = int(error.get("err_code", 0)), error.get("description", "unknown error")
    if code in _WRONG_LAST_SEQUENCE:
        return EndConflict(f"{subject}: {text}")
    if (refusal := no_room(code, text, subject, own)) is None:
        remedy = "Run `clawbus apply`, which makes what is missing." if code in MISSING else "Run `clawbus doctor`."
        refusal = Refused(f"{subject}: {text} (nats-server error {code})", remedy)
    refusal.code = code
    return refusal
