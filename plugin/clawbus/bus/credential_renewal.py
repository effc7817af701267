"""Credentials that live shortly, renewed at half of their life: the connection is made anew before they end."""

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
    """A bus, as far as this has to know it."""

    identity: Identity

    async def reconnect(self) -> None: ...

    async def ask(self, subject: str, data: bytes, timeout_s: float = 5.0) -> bytes: ...


Renew = Callable[[Renewable], Awaitable[None]]
"""Sees to it that newer credentials lie in the file, from wherever they come. Raises ClawbusError if it cannot."""


async def keep_fresh(bus: Renewable, renew: Renew) -> None:
    """Until cancelled. What fails is tried again: credentials are asked for long before they are needed."""
    creds = bus.identity.creds_file
    if creds is None:
        return
    used = read_creds(creds)
    while True:
        left_s = _until_half(used)
        if left_s > 0:
            await asyncio.sleep(min(left_s, _LONGEST_S))  # a machine may sleep meanwhile, and its clock runs on
            continue
        try:
            await renew(bus)
            fresh = read_creds(creds)
        except (ClawbusError, OSError) as error:  # a full disk is no reason to be shut out in the end
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
    """Seconds until half of a JWT's life is over."""
    said = claims_of(token)
    issued, ends = float(said.get("iat", 0)), float(said.get("exp", 0))
    return (issued + ends) / 2 - time.time() if ends else _LONGEST_S
