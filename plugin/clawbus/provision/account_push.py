"""Telling a running nats-server of ours what has changed in its accounts: permissions, signers, who is revoked.

What it is told it keeps, across restarts; a connection whose key is revoked is closed at once (docs.nats.io, "JWT",
"Revocation"). It is told of what has changed, and of nothing else: with an account that exports a service nats-server
2.15.1 forgets, when it is told of it, to whom answers go that are under way, such as a task to who waits for one.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from clawbus.bus import Bus
from clawbus.bus.jwt import claims_of, write_creds
from clawbus.errors import Refused
from clawbus.file_lock import locked_in_turn
from clawbus.org import Org
from clawbus.provision.authority import Authority
from clawbus.provision.server import greets
from clawbus.provision.tls import trusted
from clawbus.settings import Home

_WAIT_S = 5.0


async def push(home: Home, org: Org) -> bool:
    """Tell the server of this home of its accounts as they are now; False if none runs.

    One process after the other: who was slower would tell of accounts in which the other's revocations are missing.
    Raises Refused or BusAway.
    """
    if not await greets(org.bus.local_host, org.bus.port):
        return False
    authority = Authority(home)
    key = authority.key("system")
    async with locked_in_turn(home.dir("authority") / "system.lock"):
        creds_file = key.seed_file.with_suffix(".creds")
        write_creds(creds_file, authority.system_user(), key.seed_file)
        try:
            system = replace(key, creds_file=creds_file)
            trust = trusted(home, org)
            async with Bus.connect(org.url, system, "clawbus system", _WAIT_S, ca_file=trust) as bus:
                for public_key, token in authority.accounts(org).items():
                    if not await _goes_by(bus, public_key, token):
                        _raise_if_refused(public_key, await bus.ask("$SYS.REQ.CLAIMS.UPDATE", token.encode()))
        finally:
            creds_file.unlink(missing_ok=True)
    return True


async def _goes_by(bus: Bus, public_key: str, token: str) -> bool:
    """Whether the server has heard it. It is asked, since its files may be newer than what it goes by."""
    answer = json.loads(await bus.ask(f"$SYS.REQ.ACCOUNT.{public_key}.INFO", b""))
    known = (answer.get("data") or {}).get("jwt")  # none of an account that nobody has used yet
    return known is not None and _content(known) == _content(token)


def _content(token: str) -> dict[str, Any]:
    """What an account's JWT says, but for when."""
    return {name: value for name, value in claims_of(token).items() if name not in ("iat", "jti")}


def _raise_if_refused(public_key: str, answer: bytes) -> None:
    try:
        error = json.loads(answer).get("error")
    except ValueError:
        error = answer[:200].decode("utf-8", "replace")
    if error:
        raise Refused(f"nats-server did not take account {public_key[:8]}…: {error}", "Run `clawbus up` again.")
