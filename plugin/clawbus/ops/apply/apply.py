"""Changing the bus of a running company: its keys, its streams and durables, and the backlog of those who have left.

In this order: first the server's list of keys, so that those who have left are shut out; then the durables; then the
messages that these no longer hand out. Each step can be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from clawbus.bus import Bus
from clawbus.client.company import Company
from clawbus.errors import InvalidInput
from clawbus.ops.apply.departures import Departures
from clawbus.org import Org
from clawbus.provision import remote_keys
from clawbus.provision.config import write_config
from clawbus.provision.external_account import write_account
from clawbus.provision.key_steps import account_steps, key_steps
from clawbus.provision.permissions import grants
from clawbus.provision.plan import Desired, Step, directory_steps, durable_steps, finish, stream_steps, take

Say = Callable[[str], None]


def write_server_config(company: Company) -> Path:
    """Write what the server has to know of the company, and return the file; keys are made where they are missing.

    For a server of our own this is its whole configuration; for somebody else's (`bus.url`), the company as accounts
    to include there.
    """
    config = None if company.org.bus.url is not None else write_config(company.home, company.org)
    there = remote_keys.names(company.org)
    keys = {name: company.identity(name) for name in grants(company.org) if name not in there}
    return config or write_account(company.home, company.org, keys)


def check_moves(org: Org, moves: Mapping[str, str]) -> None:
    """Raises InvalidInput or NotFound for a move from somebody who is still there, or to nobody."""
    for old, new in moves.items():
        if old in org.people or old in org.groups or old in org.agents_by_id:
            raise InvalidInput("--move", old, "is still in org.toml", "Remove it there first, then apply.")
        org.takers(new, "--move")


async def apply_bus(company: Company, moves: Mapping[str, str], say: Say) -> None:
    """Bring keys, streams and durables to what org.toml says. Raises BusAway, Refused, InvalidInput."""
    check_moves(company.org, moves)
    home, desired = company.home, Desired.of(company.org)
    keys = key_steps(home, desired)
    accounts = await account_steps(home, desired, keys)
    await take(keys, say)
    remote_keys.forget_those_that_came(home, company.org)
    # Written whether or not something differs: it is what the server reads when it starts the next time.
    config = write_server_config(company)
    if company.org.bus.url is not None:
        say(f"keys and permissions are in {config}: your nats-server has to include it and reload (see docs/cli.md)")
    await take(accounts, say)
    async with company.connect("provisioner") as bus:
        await take(await stream_steps(bus, desired), say)
        await take(await durable_steps(bus, desired), say)
        await take(await directory_steps(bus, company.org, home), say)
        for line in await Departures(bus, company.org, moves).settle():
            say(line)
    finish(keys, say)


async def steps(company: Company, bus: Bus | None) -> list[Step]:
    """The steps that `apply_bus` would take now; without a bus those of keys. Raises BusAway, Refused, InvalidInput."""
    home, desired = company.home, Desired.of(company.org)
    keys = key_steps(home, desired)
    if bus is None:
        return keys
    return [
        *keys,
        *await account_steps(home, desired, keys),
        *await stream_steps(bus, desired),
        *await durable_steps(bus, desired),
        *await directory_steps(bus, company.org, home),
    ]


async def settle_late(company: Company, moves: Mapping[str, str], say: Say) -> None:
    """Once more, for what others had sent before they heard of the change. Raises BusAway or Refused."""
    async with company.connect("provisioner") as bus:
        for line in await Departures(bus, company.org, moves).settle():
            say(line)
