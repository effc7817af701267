"""Changing the bus of a running company: who may speak, what is handed out to whom, and the backlog of who has left.

In this order: first the server's list of keys, so that who has left is shut out; then the durables; then what they no
longer hand out. Each step can be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from clawbus.bus.identity import AGENT_KEY, load_or_create
from clawbus.bus.jwt import claims_of, read_creds, tags_of
from clawbus.client.company import Company
from clawbus.errors import InvalidInput
from clawbus.ops.apply.departures import Departures
from clawbus.org import Org
from clawbus.provision import remote_keys as elsewhere
from clawbus.provision import withdrawn_rights as taken
from clawbus.provision.account_push import push
from clawbus.provision.authority import Authority
from clawbus.provision.config import write_config
from clawbus.provision.credentials import account_of
from clawbus.provision.external_account import write_account
from clawbus.provision.key_directory import publish_keys
from clawbus.provision.permissions import grants
from clawbus.provision.streams import provision

Say = Callable[[str], None]


def write_server_config(company: Company) -> Path:
    """Write what the server has to know of the company, and return the file; keys are made where they are missing.

    For a server of our own this is its whole configuration; for somebody else's (`bus.url`), the company as accounts
    to include there.
    """
    config = None if company.org.bus.url is not None else write_config(company.home, company.org)
    there = elsewhere.names(company.org)
    keys = {name: company.identity(name) for name in grants(company.org) if name not in there}
    return config or write_account(company.home, company.org, keys)


def revoked_keys(company: Company) -> list[Path]:
    """The key files of who has left; what agents sign with goes when their public keys do (`provision.keys`)."""
    names = set(grants(company.org))
    found = sorted(company.home.dir("keys").glob("*.nk"))
    return [path for path in found if path.stem not in names and not path.stem.startswith(AGENT_KEY)]


def _revoke_the_changed(company: Company) -> None:
    """Credentials out in the world that say more than org.toml does now: who has left, who has lost an agent."""
    authority, granted, there = Authority(company.home), grants(company.org), elsewhere.names(company.org)
    for creds in sorted(company.home.dir("keys").glob("*.creds")):
        account = account_of(creds.stem)
        try:
            said, grant = claims_of(read_creds(creds)), granted.get(creds.stem)
        except InvalidInput:  # what it had said is not known: what was given out for the key counts no more
            if creds.with_suffix(".nk").exists():
                authority.revoke(account, load_or_create(creds.stem, creds.with_suffix(".nk")).public_key)
            continue
        if grant is None or creds.stem in there or grant.is_exceeded_by(tags_of(said)):
            taken.remember(company.home, creds.stem, tags_of(said))
            authority.revoke(account, said["sub"])


def check_moves(org: Org, moves: Mapping[str, str]) -> None:
    """Raises InvalidInput or NotFound for a move from somebody who is still there, or to nobody."""
    for old, new in moves.items():
        if old in org.people or old in org.groups or any(agent.id == old for agent in org.agents):
            raise InvalidInput("--move", old, "is still in org.toml", "Remove it there first, then apply.")
        org.takers(new, "--move")


async def apply_bus(company: Company, moves: Mapping[str, str], say: Say) -> None:
    """Bring keys, streams and durables to what org.toml says. Raises BusAway, Refused, InvalidInput."""
    check_moves(company.org, moves)
    _revoke_the_changed(company)
    for name in elsewhere.shut_out(company.home, company.org):
        say(f"{name} is shut out; if it is to be elsewhere still, let its machine in again with `clawbus invite`")
    config = write_server_config(company)
    if company.org.bus.url is not None:
        say(f"keys and permissions are in {config}: your nats-server has to include it and reload (see docs/cli.md)")
    elif await push(company.home, company.org):
        say("nats-server has been told of the keys and permissions")
    async with company.connect("provisioner") as bus:
        await provision(bus, company.org)
        await publish_keys(bus, company.org, company.home)
        for line in await Departures(bus, company.org, moves).settle():
            say(line)
    for path in revoked_keys(company):
        path.unlink()
        path.with_suffix(".creds").unlink(missing_ok=True)
        say(f"key {path.stem} revoked")


async def settle_late(company: Company, moves: Mapping[str, str], say: Say) -> None:
    """Once more, for what others had sent before they heard of the change. Raises BusAway or Refused."""
    async with company.connect("provisioner") as bus:
        for line in await Departures(bus, company.org, moves).settle():
            say(line)
