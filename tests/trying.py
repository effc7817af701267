"""One connection with nothing but what a thief has: a credentials file, and NATS' own protocol.

It says of each call whether the server let it pass. Our clients are not used: they refuse much before the server does.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nkeys

from clawbus.bus.identity import Identity, load_or_create
from clawbus.bus.jwt import write_creds
from clawbus.provision.credentials import mint
from clawbus.settings import Home
from tests.company import Live

_BETWEEN = re.compile(r"-----BEGIN [^-]+-----\s+(\S+)\s+------END")
WAIT_S = 5.0


class TurnedAway(Exception):
    """The server did not let it in."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A message that came on one of our subscriptions."""

    subject: str
    data: bytes
    reply: str


@dataclass
class Trying:
    """A connection. What the server says to a call stands before its answer to the ping that follows (NATS protocol)."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    heard: list[Heard] = field(default_factory=list)
    _errors: list[str] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def may_publish(
        self, subject: str, data: bytes = b"", reply: str = "", headers: Mapping[str, str] | None = None
    ) -> bool:
        """Publish, and say whether the server let it pass."""
        if headers is None:
            self.writer.write(f"PUB {subject} {reply} {len(data)}\r\n".encode() + data + b"\r\n")
        else:
            head = ("NATS/1.0\r\n" + "".join(f"{key}: {value}\r\n" for key, value in headers.items()) + "\r\n").encode()
            self.writer.write(f"HPUB {subject} {reply} {len(head)} {len(head) + len(data)}\r\n".encode())
            self.writer.write(head + data + b"\r\n")
        return not await self.answered()

    async def may_hear(self, subject: str, queue: str = "", stay: bool = False) -> bool:
        """Subscribe, and say whether the server let it pass; `stay`: and go on hearing."""
        number = next(self._numbers)
        self.writer.write(f"SUB {subject} {queue} {number}\r\n".encode())
        refused = await self.answered()
        if not stay:
            self.writer.write(f"UNSUB {number}\r\n".encode())
        return not refused

    async def ask(self, subject: str, body: Any = None, inbox: str = "_INBOX", wait_s: float = WAIT_S) -> bytes | None:
        """One request; None if it may not be asked, or nobody answers."""
        reply, before = f"{inbox}.{next(self._numbers)}", len(self.heard)
        assert await self.may_hear(reply, stay=True)
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        if not await self.may_publish(subject, data, reply):
            return None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while len(self.heard) == before:  # a stored message comes under its own subject
                    await self._frame()
                return self.heard[before].data
        return None

    async def answered(self) -> list[str]:
        """What the server objects to in all that was sent until now."""
        self._errors.clear()
        self.writer.write(b"PING\r\n")
        async with asyncio.timeout(WAIT_S):
            while await self._frame() != "PONG":
                pass
        return [*self._errors]

    async def _frame(self) -> str:
        try:
            line = (await self.reader.readline()).decode()
        except OSError:  # it was closed before we had read why
            line = ""
        if not line:
            raise TurnedAway("; ".join(self._errors) or "closed")
        word, *rest = line.split()
        if word in ("MSG", "HMSG"):
            size = int(rest[-1])
            body = (await self.reader.readexactly(size + 2))[:-2]
            head = int(rest[-2]) if word == "HMSG" else 0
            tokens = rest[: -2 if head else -1]
            self.heard.append(Heard(tokens[0], body[head:], tokens[2] if len(tokens) > 2 else ""))
        elif word == "PING":
            self.writer.write(b"PONG\r\n")
        elif word == "-ERR":
            self._errors.append(line[5:].strip())
        return word


@contextlib.asynccontextmanager
async def trying(url: str, creds: Path | None = None, seed: Path | None = None) -> AsyncIterator[Trying]:
    """Connect with a credentials file, with a bare seed, or with neither. Raises TurnedAway."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=8 << 20)
    try:
        info = json.loads((await reader.readline()).partition(b" ")[2])
        words: dict[str, Any] = {"verbose": False, "pedantic": False, "headers": True, "protocol": 1, "name": "thief"}
        words |= _shown(creds, seed, info.get("nonce", ""))
        writer.write(f"CONNECT {json.dumps(words)}\r\n".encode())
        one = Trying(reader, writer)
        if said := await one.answered():
            raise TurnedAway("; ".join(said))
        yield one
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _shown(creds: Path | None, seed: Path | None, nonce: str) -> dict[str, str]:
    if creds is None and seed is None:
        return {}
    token, secret = _BETWEEN.findall(creds.read_text()) if creds else ("", seed.read_text().strip() if seed else "")
    pair = nkeys.from_seed(bytearray(secret.encode()))
    signature = base64.urlsafe_b64encode(pair.sign(nonce.encode())).decode().rstrip("=")
    return {"sig": signature} | ({"jwt": token} if token else {"nkey": pair.public_key.decode()})


def joined(live: Live, key: str, folder: Path) -> Identity:
    """What a machine that has joined holds: a seed that was made there, and a JWT that the registrar gave for it."""
    there = Home(folder / "there" / ".clawbus")
    me = load_or_create(key, there.key(key))
    creds = me.seed_file.with_suffix(".creds")
    write_creds(creds, mint(live.home, live.org, key, me.public_key, 600), me.seed_file)
    return replace(me, creds_file=creds)
