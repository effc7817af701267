"""The join protocol: the messages by which a machine joins, one JSON line each, over TLS, all within ten seconds.

    registrar  Certificate   the authority's. The machine compares its hash with the pin of the code. Then it connects
                             again, and trusts that authority alone. Until then it has sent nothing.
    machine    Claim         the secret; and the public keys, if it had begun before and was cut off
    registrar  Offer         org.toml, and the gateways that are to live there
    machine    PublicKeys    those of the gateways and of their agents, made there
    registrar  Credentials   those of the gateways
    machine    Confirmation  everything is written. Now the code is used. Until then this machine may begin again with
                             the same keys, and no other may.

The registrar may send a Refusal instead of an Offer or of Credentials.
"""

from __future__ import annotations

import asyncio
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clawbus.errors import Away, Refused

MOST_BYTES = 1 << 20
"""The longest line: an escaped org.toml is the largest thing that is sent."""
WITHIN_S = 10.0


class JoinMessage(BaseModel):
    """One message of the protocol."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    v: Literal[1] = 1


class Certificate(JoinMessage):
    """`ca`: the authority's certificate, in PEM."""

    ca: str


class Claim(JoinMessage):
    """`secret`: that of the code. `keys`: as in PublicKeys."""

    secret: str = Field(max_length=64, repr=False)
    keys: dict[str, str] = Field(default_factory=dict, max_length=1024)


class Offer(JoinMessage):
    """`org`: the text of org.toml. `port`: that of the bus, on the registrar's machine."""

    org: str
    gateways: tuple[str, ...]
    port: int


class PublicKeys(JoinMessage):
    """Public keys by name: `gw-<gateway>` and `agent-<agent>`."""

    keys: dict[str, str] = Field(max_length=1024)


class Credentials(JoinMessage):
    """JWTs by the name of the key."""

    credentials: dict[str, str]


class Confirmation(JoinMessage):
    """The machine has written everything."""


class Refusal(JoinMessage):
    """`away`: the machine itself is not refused. Something that is needed is away, and the machine may try again."""

    error: str
    remedy: str = ""
    away: bool = False


class HungUp(Away):
    """The other side has closed the connection."""


M = TypeVar("M", bound=JoinMessage)


class _Answer(JoinMessage):
    error: str | None = None
    remedy: str = ""
    away: bool = False


async def receive(reader: asyncio.StreamReader, kind: type[M]) -> M:
    """Read the next message. Raises Refused or Away for a Refusal, with its words; HungUp; Away if it is no `kind`."""
    try:
        line = await reader.readline()
        if not line:
            raise HungUp("the other side has hung up", "Try again.")
        answer = _Answer.model_validate_json(line)
        if answer.error is not None:
            raise (Away if answer.away else Refused)(answer.error, answer.remedy)
        return kind.model_validate_json(line)
    except (ValueError, ValidationError, OSError):  # ValueError: the line is longer than MOST_BYTES
        raise Away("the other side said nothing that can be understood", "Try again.") from None


async def send(writer: asyncio.StreamWriter, message: JoinMessage) -> None:
    """Send a message. Raises Away if the other side has gone."""
    try:
        writer.write(message.model_dump_json().encode() + b"\n")
        await writer.drain()
    except OSError:
        raise Away("the other side has gone", "Try again.") from None
