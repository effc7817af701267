"""What comes over the wire: deliveries, stored messages, errors; read here, as values of our own."""

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
"""How long the server may take to answer."""
_WRONG_LAST_SEQUENCE = (10071, 10164)  # nats-server errors.json: JSStreamWrongLastSequenceErrF and its constant form
MISSING = (10059, 10014)
"""No such stream, no such consumer."""
NOT_WRITTEN = (10049, 10069, 10012)
"""A stream could not be made, or changed, or a consumer made: of a full disk there is no code of its own."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that a durable consumer handed out, and the words to answer it with.

    `ack_subject` stays valid across reconnects and process restarts until the lease runs out, so it is kept in
    the ledger (docs.nats.io, "JetStream wire API: acking messages").
    """

    subject: str
    data: bytes
    ack_subject: str
    msg_id: str
    stream_seq: int
    delivered: int
    """How often the server has handed this message out, this time included."""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def at(self) -> datetime | None:
        """When the server stored it, by the server's clock; None where there is no ack subject."""
        tokens = self.ack_subject.split(".")
        if len(tokens) < 9:
            return None
        return datetime.fromtimestamp(int(tokens[7 if len(tokens) == 9 else 9]) / 1e9, UTC)


def handed_out(ack_subject: str) -> int:
    """How often a message had been handed out when this ack subject came with it.

    `$JS.ACK.<stream>.<consumer>.<delivered>.<seq>…`, or with domain and account before the stream (nats-server ADR-15).
    """
    tokens = ack_subject.split(".")
    return int(tokens[4 if len(tokens) == 9 else 6])


def stored_seq(ack_subject: str) -> int:
    """The number of the message in its stream, from its ack subject; 0 if there is none."""
    tokens = ack_subject.split(".")
    return int(tokens[5 if len(tokens) == 9 else 7]) if len(tokens) >= 9 else 0


@dataclass(frozen=True, slots=True)
class Ack:
    """The server has a message. `duplicate`: it had one of that id before, and kept that one."""

    seq: int
    duplicate: bool


class Message(Protocol):
    """What a listener is given: nats-py's message, as far as others may know it."""

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
    """The messages of one batch, and whether there are more behind it."""
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
    """A block `NATS/1.0`, one header a line; of a name that stands twice the first counts, as it does for nats-py."""
    found: dict[str, str] = {}
    for line in block.decode("utf-8", "replace").split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    return found


def parse_time(stamp: str) -> datetime:
    """RFC 3339 with nanoseconds, as the server writes it; Python 3.11 reads six digits."""
    head, _, tail = stamp.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{head}.{(tail + '000000')[:6]}+00:00")


def translate(error: dict[str, Any], subject: str, own: bool = False) -> ClawbusError:
    """What an error of JetStream's API means to us, by its code.

    `subject`: what was published, or the method; `own`: whether the server is the company's own.
    """
    code, text = int(error.get("err_code", 0)), error.get("description", "unknown error")
    if code in _WRONG_LAST_SEQUENCE:
        return EndConflict(f"{subject}: {text}")
    if (refusal := no_room(code, text, subject, own)) is None:
        remedy = "Run `clawbus apply`, which makes what is missing." if code in MISSING else "Run `clawbus doctor`."
        refusal = Refused(f"{subject}: {text} (nats-server error {code})", remedy)
    refusal.code = code
    return refusal
