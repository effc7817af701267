"""What is said when a machine comes in: one JSON line at a time, over TLS, each bounded, all of it within ten seconds.

    registrar  Greeting   the authority's certificate: the machine compares its hash with the pin, and calls again, now
                          trusting that authority alone. Until then it has sent nothing.
    machine    Hello      the secret; if it had begun before and was cut off, the public keys of then
    registrar  Offer      org.toml, and which gateways are to live there
    machine    Keys       the public keys of those gateways and of their agents, made there
    registrar  Grant      the gateways' credentials
    machine    Kept       it has written everything: now the code is used. Until then this machine may begin anew with
                          the same keys, and no other may

Instead of an Offer or a Grant there may be a Refusal.
"""

from __future__ import annotations

import asyncio
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clawbus.errors import Away, Refused

MOST_BYTES = 1 << 20
"""Of a line: an org.toml, escaped, is the largest thing that is said."""
WITHIN_S = 10.0


class Frame(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    v: Literal[1] = 1


class Greeting(Frame):
    ca: str


class Hello(Frame):
    secret: str = Field(max_length=64, repr=False)
    keys: dict[str, str] = Field(default_factory=dict, max_length=1024)


class Offer(Frame):
    """`port`: the bus's, on the machine that was called."""

    org: str
    gateways: tuple[str, ...]
    port: int


class Keys(Frame):
    """Public keys by name: `gw-<gateway>` and `agent-<agent>`."""

    keys: dict[str, str] = Field(max_length=1024)


class Grant(Frame):
    """JWTs by the name of the key."""

    credentials: dict[str, str]


class Kept(Frame):
    """Everything is written."""


class Refusal(Frame):
    """`away`: it is not the machine that is refused: something is away that is needed, and it may try again."""

    error: str
    remedy: str = ""
    away: bool = False


class HungUp(Away):
    """The other side has ended the call."""


S = TypeVar("S", bound=Frame)


class _Answer(Frame):
    error: str | None = None
    remedy: str = ""
    away: bool = False


async def read_frame(reader: asyncio.StreamReader, kind: type[S]) -> S:
    """The other side's next line. Raises Refused or Away with its words; HungUp; Away if it says nothing that fits."""
    try:
        line = await reader.readline()
        if not line:
            raise HungUp("the other side has hung up", "Try again.")
        answer = _Answer.model_validate_json(line)
        if answer.error is not None:
            raise (Away if answer.away else Refused)(answer.error, answer.remedy)
        return kind.model_validate_json(line)
    except (ValueError, ValidationError, OSError):  # ValueError: a line beyond the bound
        raise Away("the other side said nothing that can be understood", "Try again.") from None


async def say(writer: asyncio.StreamWriter, what: Frame) -> None:
    """Raises Away if the other side has gone."""
    try:
        writer.write(what.model_dump_json().encode() + b"\n")
        await writer.drain()
    except OSError:
        raise Away("the other side has gone", "Try again.") from None
