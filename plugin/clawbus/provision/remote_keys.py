"""Keys that were made on another machine: the company's own knows their public halves, and what it gave out for them.

`keys/<name>.pub` holds the public key of a gateway (`gw-<id>`) or of an agent's signatures (`agent-<id>`), and
`keys/<name>.jwt` a gateway's last credentials, without which nobody could tell later what has to be revoked.
"""

from __future__ import annotations

from pathlib import Path

from clawbus.bus.identity import agent_key, is_public_key
from clawbus.bus.jwt import claims_of, tags_of
from clawbus.errors import InvalidInput
from clawbus.org import Org
from clawbus.provision import withdrawn_rights
from clawbus.provision.accounts import GATEWAYS
from clawbus.provision.authority import Authority
from clawbus.provision.permissions import Grant
from clawbus.settings import Home, write_secret


def names(org: Org) -> frozenset[str]:
    """The names of the keys that live elsewhere by org.toml."""
    gateways = [gateway.id for gateway in org.gateways if gateway.elsewhere]
    agents = [agent_key(agent.id) for gateway in gateways for agent in org.agents_of(gateway)]
    return frozenset([*(f"gw-{gateway}" for gateway in gateways), *agents])


def lives_elsewhere(org: Org, name: str) -> bool:
    """True if the key of that name is one of `names`, without walking through the company."""
    kind, _, member = name.partition("-")
    gateway = member if kind == "gw" else agent.gateway if (agent := org.agents_by_id.get(member)) else ""
    return kind in ("gw", "agent") and org.has_gateway(gateway) and org.gateway(gateway).elsewhere


def public_key(home: Home, name: str) -> str | None:
    """The public half of a key that was made elsewhere; None if none is known. Raises InvalidInput."""
    file = _public(home, name)
    try:
        key = file.read_text().strip()
    except FileNotFoundError:
        return None
    if not is_public_key(key):
        raise InvalidInput("key file", str(file), "holds no public nkey", "Let its machine in again: `clawbus invite`.")
    return key


def learn(home: Home, name: str, key: str) -> None:
    """Know a public key by that name from now on. The key of before signs, and opens, nothing any more."""
    if public_key(home, name) != key:
        _revoke(home, name)
        write_secret(_public(home, name), f"{key}\n")
    for suffix in (".nk", ".creds"):  # of the time when it lived here
        home.key(name).with_suffix(suffix).unlink(missing_ok=True)


def remember(home: Home, name: str, token: str) -> None:
    """Keep the credentials that were given out for a key last."""
    write_secret(_given(home, name), token)


def given_out(home: Home) -> dict[str, list[str]]:
    """The keys for which credentials were given out to another machine, with the tags that these have."""
    return {file.stem: tags_of(claims_of(file.read_text())) for file in sorted(home.dir("keys").glob("*.jwt"))}


def shut_out(home: Home, name: str, tags: list[str]) -> None:
    """Revoke what was given out for a gateway that has left, lives here now, or has fewer agents.

    The last one has to be invited again: a machine that asks for new credentials needs some that count. `tags`: those
    of the credentials.
    """
    withdrawn_rights.remember(home, name, tags)
    _revoke(home, name)


def forget_those_that_came(home: Home, org: Org) -> None:
    """Remove the public keys of who lives here now, or has left."""
    there = names(org)
    for public in home.dir("keys").glob("*.pub"):
        if public.stem not in there:
            public.unlink()


def has_fewer(home: Home, grant: Grant) -> bool:
    """True if what was given out permits more than the key may have now."""
    try:
        claims = claims_of(_given(home, grant.name).read_text())
    except FileNotFoundError:
        return False
    return grant.is_exceeded_by(tags_of(claims))


def _revoke(home: Home, name: str) -> None:
    if (key := public_key(home, name)) is not None and name.startswith("gw-"):
        Authority(home).revoke(GATEWAYS, key)
    for file in (_public(home, name), _given(home, name)):
        file.unlink(missing_ok=True)


def _public(home: Home, name: str) -> Path:
    return home.key(name).with_suffix(".pub")


def _given(home: Home, name: str) -> Path:
    return home.key(name).with_suffix(".jwt")
