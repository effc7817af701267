"""Renews short-lived credentials at half of their life, and reconnects with the new ones before the old ones end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from clawbus.bus.identity import Identity
from clawbus.bus.jwt import claims_of, read_creds
from clawbus.errors import ClawbusError

log = logging.getLogger(__name__)

_LONGEST_S = 60.0
_RETRY_S = 5.0


class Renewable(Protocol):
    """The part of a bus that renewal needs."""

    identity: Identity

    async def reconnect(self) -> None: ...

    async def ask(self, subject: str, data: bytes, timeout_s: float = 5.0) -> bytes: ...


Renew = Callable[[Renewable], Awaitable[None]]
"""Puts newer credentials into the file, from wherever they come. Raises ClawbusError if it cannot."""


async def keep_fresh(bus: Renewable, renew: Renew) -> None:
    """Renew until cancelled. After a failure it tries again: it asks for credentials long before they are needed."""
    creds = bus.identity.creds_file
    if creds is None:
        return
    used = read_creds(creds)
    while True:
        left_s = _until_half(used)
        if left_s > 0:
            await asyncio.sleep(min(left_s, _LONGEST_S))  # in steps: a machine may sleep while its clock runs on
            continue
        try:
            await renew(bus)
            fresh = read_creds(creds)
        except (ClawbusError, OSError) as error:  # also of a full disk: later there may be room
            why = str(error).partition("\n")[0]
            log.warning("the credentials of %s could not be renewed: %s", bus.identity.name, why)
            fresh = used
        if fresh == used or _until_half(fresh) <= 0:
            await asyncio.sleep(_RETRY_S)
            continue
        used = fresh
        log.info("the credentials of %s were renewed", bus.identity.name)
        await bus.reconnect()


def _until_half(token: str) -> float:
    """The seconds until half of a JWT's life is over; for one without an end `_LONGEST_S`."""
    claims = claims_of(token)
    issued, ends = float(claims.get("iat", 0)), float(claims.get("exp", 0))
    return (issued + ends) / 2 - time.time() if ends else _LONGEST_S
