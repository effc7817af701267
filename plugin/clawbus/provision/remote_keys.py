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
from clawbus.provision import withdrawn_rights as taken
from clawbus.provision.accounts import GATEWAYS
from clawbus.provision.authority import Authority
from clawbus.provision.permissions import Grant, grants
from clawbus.settings import Home, write_secret


def names(org: Org) -> frozenset[str]:
    """The names of the keys that live elsewhere by org.toml."""
    gateways = [gateway.id for gateway in org.gateways if gateway.elsewhere]
    agents = [agent_key(agent.id) for gateway in gateways for agent in org.agents_of(gateway)]
    return frozenset([*(f"gw-{gateway}" for gateway in gateways), *agents])


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
    """Know a public key by that name from now on. What the name stood for before signs, and opens, nothing any more."""
    if public_key(home, name) != key:
        _revoke(home, name)
        write_secret(_public(home, name), f"{key}\n")
    for suffix in (".nk", ".creds"):  # of the time when it lived here
        home.key(name).with_suffix(suffix).unlink(missing_ok=True)


def remember(home: Home, name: str, token: str) -> None:
    """What was given out for a key last."""
    write_secret(_given(home, name), token)


def shut_out(home: Home, org: Org) -> list[str]:
    """Revoke what was given out for gateways that have left, live here now, or have fewer agents. Returns their names.

    The last ones have to be invited again: who asks for new credentials needs some that count.
    """
    granted, there, found = grants(org), names(org), []
    for given in sorted(home.dir("keys").glob("*.jwt")):
        name = given.stem
        if name not in there or has_fewer(home, granted[name]):
            taken.remember(home, name, tags_of(claims_of(given.read_text())))
            _revoke(home, name)
            found.append(name)
    for public in home.dir("keys").glob("*.pub"):
        if public.stem not in there:
            public.unlink()
    return found


def has_fewer(home: Home, grant: Grant) -> bool:
    """Whether what was given out says more than the key may have now."""
    try:
        said = claims_of(_given(home, grant.name).read_text())
    except FileNotFoundError:
        return False
    return grant.is_exceeded_by(tags_of(said))


def _revoke(home: Home, name: str) -> None:
    if (key := public_key(home, name)) is not None and name.startswith("gw-"):
        Authority(home).revoke(GATEWAYS, key)
    for file in (_public(home, name), _given(home, name)):
        file.unlink(missing_ok=True)


def _public(home: Home, name: str) -> Path:
    return home.key(name).with_suffix(".pub")


def _given(home: Home, name: str) -> Path:
    return home.key(name).with_suffix(".jwt")
