"""What the server knows of a key already, against what org.toml says: for showing what a change would do."""

from __future__ import annotations

from typing import Any

from clawbus.bus.jwt import claims_of, read_creds, tags_of
from clawbus.errors import InvalidInput
from clawbus.org import Org
from clawbus.provision import remote_keys as elsewhere
from clawbus.provision.authority import Authority
from clawbus.provision.config import resolver_dir
from clawbus.provision.credentials import credentials
from clawbus.provision.external_account import User, account_file, user_line
from clawbus.provision.permissions import Grant, allowed, rights
from clawbus.settings import Home


def is_known(home: Home, org: Org, grant: Grant) -> bool:
    """Whether a key has what it needs to be let in."""
    if grant.name in elsewhere.names(org):
        return elsewhere.public_key(home, grant.name) is not None
    key = home.key(grant.name)
    if not key.exists():
        return False
    if org.bus.url is None:
        return key.with_suffix(".creds").exists()
    return not account_file(home).exists() or credentials(home, org, grant.name).public_key in _account(home)


def has_changed(home: Home, org: Org, grant: Grant) -> bool:
    """Whether a known key may do something else by org.toml than the server lets it do now."""
    if grant.name in elsewhere.names(org):
        return elsewhere.has_fewer(home, grant)
    if org.bus.url is not None:
        may = allowed(org, grant)
        line = user_line(User(credentials(home, org, grant.name).public_key, may.publish, may.subscribe))
        return account_file(home).exists() and line not in _account(home)
    said = claims_of(read_creds(home.key(grant.name).with_suffix(".creds")))
    if tags_of(said) != grant.tag_list:
        return True
    may, written = rights(org, grant.role), _written(home, grant)
    return written is not None and written != [list(may.publish), list(may.subscribe)]


def _account(home: Home) -> str:
    try:
        return account_file(home).read_text("utf-8")
    except OSError:
        return ""


def _written(home: Home, grant: Grant) -> list[list[str]] | None:
    """What the written account lets the role publish and subscribe to; None if nothing is written."""
    account = Authority(home).key(grant.account).public_key
    try:
        claims: dict[str, Any] = claims_of((resolver_dir(home) / f"{account}.jwt").read_text())
    except (OSError, InvalidInput):
        return None
    for signer in claims["nats"].get("signing_keys", ()):
        if signer.get("role") == grant.role:
            template = signer["template"]
            return [template[side].get("allow", []) for side in ("pub", "sub")]
    return [[], []]
