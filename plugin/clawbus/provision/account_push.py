"""Telling a running nats-server of ours of changed accounts: permissions, signers, revoked keys.

The server keeps what it is told, across restarts; it closes the connections of a revoked key at once (docs.nats.io,
"JWT", "Revocation"). It is told of changed accounts only: once it is told of an account that exports a service,
nats-server 2.15.1 forgets where the answers go that are under way, such as a task for a worker that waits for one.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from clawbus.bus import Bus
from clawbus.bus.jwt import claims_of, write_creds
from clawbus.errors import Refused
from clawbus.file_lock import locked_in_turn
from clawbus.org import Org
from clawbus.provision.authority import Authority
from clawbus.provision.config import resolver_dir
from clawbus.provision.server import greets
from clawbus.provision.tls import trusted
from clawbus.settings import Home

_WAIT_S = 5.0
_LOOK_S = 0.05


async def push(home: Home, org: Org) -> bool:
    """Tell the server of this home of its accounts as they are now; False if none runs. Raises Refused or BusAway."""
    if not await greets(org.bus.local_host, org.bus.port):
        return False
    async with _system(home, org) as bus:
        for public_key, token in Authority(home).accounts(org).items():
            if not _says_the_same(await _told(bus, public_key), token):
                _raise_if_refused(public_key, await bus.ask("$SYS.REQ.CLAIMS.UPDATE", token.encode()))
    return True


async def accounts_that_differ(home: Home, org: Org) -> list[str] | None:
    """The names of the accounts that the server of this home goes by otherwise; None if none runs.

    Raises Refused or BusAway.
    """
    if not await greets(org.bus.local_host, org.bus.port):
        return None
    found, resolver = [], resolver_dir(home)
    async with _system(home, org) as bus:
        for public_key, token in Authority(home).accounts(org).items():
            told = await _told(bus, public_key)
            if told is None:  # nobody has used it yet: the server will read its file
                told = _read(resolver / f"{public_key}.jwt")
            if not _says_the_same(told, token):
                found.append(str(claims_of(token)["name"]))
    return found


@contextlib.asynccontextmanager
async def _system(home: Home, org: Org) -> AsyncIterator[Bus]:
    """A connection that may tell the server of its accounts.

    One process after the other: a slower one would tell of accounts in which the other's revocations are missing.
    """
    async with locked_in_turn(home.dir("authority") / "system.lock"):
        authority = Authority(home)
        key = authority.key("system")
        creds_file = key.seed_file.with_suffix(".creds")
        write_creds(creds_file, authority.system_user(), key.seed_file)
        try:
            system = replace(key, creds_file=creds_file)
            trust = trusted(home, org)
            async with Bus.connect(org.url, system, "clawbus system", _WAIT_S, ca_file=trust) as bus:
                yield bus
        finally:
            creds_file.unlink(missing_ok=True)


async def _told(bus: Bus, public_key: str) -> str | None:
    """The JWT of an account that the server goes by; None of one that nobody has used yet.

    The server is asked, since its files may be newer than what it goes by.
    """
    answer = json.loads(await bus.ask(f"$SYS.REQ.ACCOUNT.{public_key}.INFO", b""))
    token: str | None = (answer.get("data") or {}).get("jwt")
    return token


def _read(file: Path) -> str | None:
    try:
        return file.read_text()
    except OSError:
        return None


def _says_the_same(known: str | None, token: str) -> bool:
    return known is not None and _content(known) == _content(token)


def _content(token: str) -> dict[str, Any]:
    """The claims of an account's JWT, without its time."""
    return {name: value for name, value in claims_of(token).items() if name not in ("iat", "jti")}


def _raise_if_refused(public_key: str, answer: bytes) -> None:
    try:
        error = json.loads(answer).get("error")
    except ValueError:
        error = answer[:200].decode("utf-8", "replace")
    if error:
        raise Refused(f"nats-server did not take account {public_key[:8]}…: {error}", "Run `clawbus up` again.")
