"""Changing the bus of a running company: who may speak, what is handed out to whom, and the backlog of who has left.

In this order: first the server's list of keys, so that who has left is shut out; then the durables; then what they no
longer hand out. Each step can be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from clawbus.change.leaving import Leaving
from clawbus.company import Company
from clawbus.errors import InvalidInput
from clawbus.org import Org
from clawbus.provision import server
from clawbus.provision.permissions import key_names, users
from clawbus.provision.reload import reload
from clawbus.provision.streams import provision

Say = Callable[[str], None]


def write_server_config(company: Company) -> Path:
    """Write the keys and permissions of the whole company, and return the file; keys are made where they are missing.

    For a server of our own this is its whole configuration; for somebody else's (`bus.url`), the company as an account
    to include there.
    """
    keys = {name: company.identity(name) for name in key_names(company.org)}
    write = server.write_config if company.org.bus.url is None else server.write_account
    return write(company.home, company.org, users(company.org, keys))


def revoked_keys(company: Company) -> list[Path]:
    """The key files of who has left."""
    names = set(key_names(company.org))
    return [path for path in sorted(company.home.dir("keys").glob("*.nk")) if path.stem not in names]


def check_moves(org: Org, moves: Mapping[str, str]) -> None:
    """Raises InvalidInput or NotFound for a move from somebody who is still there, or to nobody."""
    for old, new in moves.items():
        if old in org.people or old in org.groups or any(agent.id == old for agent in org.agents):
            raise InvalidInput("--move", old, "is still in org.toml", "Remove it there first, then apply.")
        org.takers(new, "--move")


async def apply_bus(company: Company, moves: Mapping[str, str], say: Say, fresh: bool = False) -> None:
    """Bring keys, streams and durables to what org.toml says. Raises BusAway, Refused, InvalidInput.

    `fresh`: the server was started a moment ago, and knows the keys.
    """
    check_moves(company.org, moves)
    config = write_server_config(company)
    if company.org.bus.url is not None:
        say(f"keys and permissions are in {config}: your nats-server has to include it and reload (see docs/cli.md)")
    elif not fresh and await reload(company.home):
        say("nats-server has reloaded its keys and permissions")
    async with company.connect("provisioner") as bus:
        await provision(bus, company.org)
        for line in await Leaving(bus, company.org, moves).settle():
            say(line)
    for path in revoked_keys(company):
        path.unlink()
        say(f"key {path.stem} revoked")


async def settle_late(company: Company, moves: Mapping[str, str], say: Say) -> None:
    """Once more, for what others had sent before they heard of the change. Raises BusAway or Refused."""
    async with company.connect("provisioner") as bus:
        for line in await Leaving(bus, company.org, moves).settle():
            say(line)
