"""On a machine that has joined: org.toml as the company's own machine has it, and what follows from a change of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from clawbus.bus import Bus
from clawbus.company import Company
from clawbus.enrol.answering import digest_of
from clawbus.errors import ClawbusError, Refused
from clawbus.identity import agent_key, load_or_create
from clawbus.org import Org, load_text
from clawbus.provision.accounts import credentials_subject
from clawbus.provision.renewing import renew
from clawbus.settings import write_secret

log = logging.getLogger(__name__)
EVERY_S = 5.0

Buses = dict[str, Bus]
"""A connection per gateway of this machine, each with its own key."""


async def follow(company: Company, changed: Callable[[], Awaitable[object]]) -> None:
    """Until cancelled: keep org.toml as the company's own machine has it, and call `changed` when it is another.

    By then this machine has told the keys of agents that are new to it, and has the credentials for them. Does nothing
    on the company's own machine. What cannot be taken over is logged, and the file stays as it was.
    """
    if company.here is None:
        return
    async with contextlib.AsyncExitStack() as stack:
        buses = {
            gateway: await stack.enter_async_context(company.connect(f"gw-{gateway}", f"follower {gateway}", None))
            for gateway in company.here.gateways
        }
        while True:
            try:
                if (text := await _newer(company, buses)) is not None:
                    company = replace(company, org=_checked(company, text))
                    for gateway, bus in buses.items():
                        await _make_known(company, gateway, bus)
                    write_secret(company.org_file, text)  # last: who reads it finds all that belongs to it
                    await changed()
            except ClawbusError as error:
                log.warning("org.toml could not be taken over from the company's own machine: %s", error.message)
            await asyncio.sleep(EVERY_S)


async def _newer(company: Company, buses: Buses) -> str | None:
    """The company's org.toml, if it is not the one that is here. Raises BusAway or Refused."""
    gateway, bus = next(iter(buses.items()))
    text = (await _ask(company, gateway, bus, org=digest_of(company.org_file.read_text("utf-8")))).get("org")
    return text if isinstance(text, str) else None


def _checked(company: Company, text: str) -> Org:
    """Raises OrgMistakes, or Refused for another company's."""
    org = load_text(text, company.org_file)
    if org.company != company.org.company:
        raise Refused(f"it is the org.toml of another company: {org.company}")
    return org


async def _make_known(company: Company, gateway: str, bus: Bus) -> None:
    """Tell the public keys of a gateway's agents, made here where they are missing, and get new credentials."""
    names = [agent_key(agent.id) for agent in company.org.agents_of(gateway)]
    keys = {name: load_or_create(name, company.home.key(name)).public_key for name in names}
    await _ask(company, gateway, bus, keys=keys)
    await renew(company.home, company.org, f"gw-{gateway}", bus)
    await bus.reconnect()


async def _ask(company: Company, gateway: str, bus: Bus, **question: Any) -> dict[str, Any]:
    """Raises Refused with the registrar's words, BusAway."""
    subject = credentials_subject(company.org.company, f"gw-{gateway}")
    said: dict[str, Any] = json.loads(await bus.ask(subject, json.dumps(question).encode()))
    if said.get("error"):
        raise Refused(str(said["error"]))
    return said
