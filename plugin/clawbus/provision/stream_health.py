"""The streams that the server keeps nothing in any more. It is asked itself, over the system account.

nats-server (2.14 and newer) writes nothing more into a stream after one write to disk has failed, until it is started
again. Who publishes there hears nothing, and the stream's API goes on as if it were well; HEALTHZ names it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

from clawbus.bus import Bus
from clawbus.bus.jwt import write_creds
from clawbus.org import Org
from clawbus.provision.accounts import OFFICE
from clawbus.provision.authority import HEALTH, WATCHER, WATCHES_S, Authority
from clawbus.provision.tls import trusted
from clawbus.settings import Home

ALL = "all streams"
FRESH_S = WATCHES_S / 2
"""After this time it is better to connect anew: the credentials end later, and the server would say so as an error."""
_WITHIN_S = 2.0
_ASKED = json.dumps({"details": True}).encode()
Look = Callable[[], Awaitable[list[str]]]


@contextlib.asynccontextmanager
async def watching(home: Home, org: Org) -> AsyncIterator[Look]:
    """Ask as often as you like which streams take no write; `ALL` where JetStream as a whole is off.

    Connecting and each look raise BusAway or Refused; credentials that have ended are made by connecting anew. Raises
    OSError where they cannot be written.
    """
    authority = Authority(home)
    key, account = authority.key(WATCHER), authority.key(OFFICE).public_key
    creds = key.seed_file.with_suffix(".creds")
    write_creds(creds, authority.watcher(), key.seed_file)
    me = replace(key, creds_file=creds)
    try:
        async with Bus.connect(org.url, me, "clawbus watcher", _WITHIN_S, ca_file=trusted(home, org)) as bus:

            async def look() -> list[str]:
                return _broken(json.loads(await bus.ask(HEALTH, _ASKED, _WITHIN_S)), account)

            yield look
    finally:
        creds.unlink(missing_ok=True)


def _broken(answer: dict[str, Any], account: str) -> list[str]:
    """The streams that HEALTHZ complains of. The types of its errors are nats-server's (`HealthZErrorType`)."""
    errors = (answer.get("data") or {}).get("errors") or []
    found = [error["stream"] for error in errors if error.get("type") == "STREAM" and error.get("account") == account]
    return sorted(found) + [ALL for error in errors if error.get("type") == "JETSTREAM"][:1]
