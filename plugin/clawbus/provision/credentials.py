"""Credentials for the keys of a company: short-lived, and renewed long before they end."""

from __future__ import annotations

import time
from dataclasses import replace

from clawbus.bus.identity import SERVER_API, Identity, load_or_create, refuse_readable
from clawbus.bus.jwt import claims_of, encode, read_creds, write_creds
from clawbus.errors import BusAway, InvalidInput, NotFound
from clawbus.org import Org
from clawbus.provision import joined_machine as here
from clawbus.provision import remote_keys as elsewhere
from clawbus.provision.accounts import API_PREFIX, GATEWAYS, OFFICE
from clawbus.provision.authority import Authority
from clawbus.provision.permissions import ROLES, Grant, grant_of, grants
from clawbus.settings import Home


def mint(home: Home, org: Org, key_name: str, public_key: str, life_s: float) -> str:
    """A user's JWT: the role of the key, the ids that are its own, and the second until which it counts.

    Raises NotFound if the company has no such key.
    """
    return _minted(home, _grant(org, key_name), public_key, life_s)


def _minted(home: Home, grant: Grant, public_key: str, life_s: float) -> str:
    authority = Authority(home)
    issued = max(int(time.time()), authority.revoked(grant.account).get(public_key, -1) + 1)
    nats = {
        "type": "user",
        "pub": {},
        "sub": {},
        "tags": grant.tag_list,
        "issuer_account": authority.key(grant.account).public_key,
    }
    ends = issued + max(1, int(life_s))
    return encode(public_key, grant.name, nats, authority.key(grant.role), iat=issued, exp=ends)


def credentials(home: Home, org: Org, key_name: str) -> Identity:
    """The identity of a key with credentials that are good for some time yet, issued here if this machine may.

    On a machine that may not, those that it has. Raises InvalidInput for files that are none, or that others may read,
    NotFound for a key that the company does not have, BusAway where it was never started: there are none then.
    """
    grant: Grant | None = None
    if Authority(home).is_here:
        grant = _grant(org, key_name)
        if elsewhere.lives_elsewhere(org, key_name):
            raise NotFound(f"{key_name} is on another machine", "`clawbus invite` lets one in.")
    elif here.read(home) is not None and not home.key(key_name).exists():
        raise NotFound(f"there is no key of {key_name} on this machine", "Run it on the company's own machine.")
    elif org.bus.url is None and not (home.root / "keys" / f"{key_name}.nk").exists():
        raise _not_started(org, key_name)  # and nothing is made by looking
    me = load_or_create(key_name, home.key(key_name))
    creds_file = me.seed_file.with_suffix(".creds")
    api = SERVER_API if account_of(key_name) == OFFICE else API_PREFIX
    if org.bus.url is not None:  # somebody else's server: its configuration has our public keys, and no JWT counts
        return replace(me, api=api)
    found = replace(me, creds_file=creds_file, api=api)
    if grant is not None and not _good(home, org, grant, found):
        write_creds(creds_file, _minted(home, grant, me.public_key, org.bus.credentials_s), me.seed_file)
    if not creds_file.exists():
        raise _not_started(org, key_name)
    refuse_readable(creds_file)
    return found


def _not_started(org: Org, key_name: str) -> BusAway:
    return BusAway(
        f"{org.company} has not been started here: there are no credentials of {key_name}",
        "Start it with `clawbus up`.",
    )


def account_of(key_name: str) -> str:
    """The account in which a key of that name lives, also if the company has no such key."""
    return GATEWAYS if key_name.startswith("gw-") else ROLES.get(key_name, ROLES["person"])


def _grant(org: Org, key_name: str) -> Grant:
    if (grant := grant_of(org, key_name)) is None:
        raise NotFound(f"{org.company} has no key {key_name!r}", f"There are: {', '.join(grants(org))}.")
    return grant


def _good(home: Home, org: Org, grant: Grant, me: Identity) -> bool:
    """True if credentials say what they should, are not revoked, and have more than half of their life before them."""
    authority = Authority(home)
    if me.creds_file is None or not me.creds_file.exists():
        return False
    try:
        claims = claims_of(read_creds(me.creds_file))
    except InvalidInput:  # half a file, or somebody has put something else there
        return False
    now = time.time()
    return (
        (claims.get("sub"), claims.get("name")) == (me.public_key, me.name)
        and claims.get("iss") == authority.key(grant.role).public_key
        and claims.get("nats", {}).get("tags") == grant.tag_list
        and claims.get("nats", {}).get("issuer_account") == authority.key(grant.account).public_key
        and claims.get("iat", 0) > authority.revoked(grant.account).get(me.public_key, -1)
        and claims.get("exp", 0) - now > min(org.bus.credentials_s, claims.get("exp", 0) - claims.get("iat", 0)) / 2
    )
