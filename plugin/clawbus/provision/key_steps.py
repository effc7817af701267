"""The steps of keys and accounts: those that the server knows already, against those that org.toml asks for.

The keys' steps come before the accounts': the account of which the server is told names the keys that they revoke.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clawbus.bus.identity import AGENT_KEY, load_or_create
from clawbus.bus.jwt import claims_of, read_creds, tags_of
from clawbus.errors import InvalidInput
from clawbus.provision import remote_keys
from clawbus.provision import withdrawn_rights as withdrawn
from clawbus.provision.account_push import accounts_that_differ, push
from clawbus.provision.accounts import ACCOUNTS, GATEWAYS
from clawbus.provision.authority import Authority
from clawbus.provision.config import resolver_dir
from clawbus.provision.credentials import account_of, credentials
from clawbus.provision.external_account import User, account_conf, account_file, user_line
from clawbus.provision.permissions import Grant, allowed
from clawbus.provision.plan import Desired, Step
from clawbus.settings import Home

_RIGHTS = "what it may say and hear"
_REFUSED = "the server will refuse it"
_UNREADABLE = "its credentials cannot be read: what was given out for it counts no more"
_MOVED = "it lives on another machine now: what it was given here counts no more"
_CAME_OR_LEFT = "what its other machine holds counts no more"
_SHUT_OUT = "{} is shut out; if it is to be elsewhere still, let its machine in again with `clawbus invite`"


@dataclass(frozen=True, slots=True)
class _Known:
    """The facts that all keys' steps need: read once."""

    home: Home
    desired: Desired
    roles: dict[str, tuple[list[str], list[str]]] | None
    """The subjects that the written accounts let each role publish and subscribe to; None where nothing is written."""
    account_conf: str | None
    """The text that somebody else's server is to include; None where it was not written yet."""

    @property
    def is_external(self) -> bool:
        return self.desired.org.bus.url is not None


def key_steps(home: Home, desired: Desired) -> list[Step]:
    """The keys that are new, changed or removed. Changes nothing. Raises InvalidInput for a key file that is none."""
    known = _Known(home, desired, _written_roles(home), _read(account_file(home)))
    here = (_of_a_key(known, grant) for name, grant in desired.grants.items() if name not in desired.remote)
    remote = (_of_a_moved_key(known, name) for name in desired.grants if name in desired.remote)
    given = _given_out(home, desired)
    return [*given, *(step for step in (*here, *remote) if step is not None), *_of_the_left(known)]


async def account_steps(home: Home, desired: Desired, keys: Iterable[Step]) -> list[Step]:
    """The accounts of which the server is to be told, as one step; none where no server of ours runs.

    Raises BusAway or Refused.
    """
    if desired.org.bus.url is not None:
        return _external(home, desired)
    differing = await accounts_that_differ(home, desired.org)
    if differing is None:
        return []
    changed = {*differing, *(step.revokes[0] for step in keys if step.revokes is not None)}
    if not changed:
        return []
    names = ", ".join(sorted(changed))
    done = "nats-server has been told of the keys and permissions"
    return [Step("account", "nats-server", "changed", names, done, do=functools.partial(_push, home, desired))]


async def _push(home: Home, desired: Desired) -> None:
    await push(home, desired.org)


def _external(home: Home, desired: Desired) -> list[Step]:
    """The piece of somebody else's configuration. It is written with the keys, when these have been made."""
    present = _read(account_file(home))
    local = [name for name in desired.grants if name not in desired.remote]
    is_whole = all(home.key(name).exists() for name in local)
    if present is not None and is_whole:
        identities = {name: load_or_create(name, home.key(name)) for name in local}
        if present == account_conf(desired.org, identities):
            return []
    what = "new" if present is None else "changed"
    return [Step("account", account_file(home).name, what, "your nats-server has to include it and reload")]


# -- keys of this machine ---------------------------------------------------------------------------------------------


def _of_a_key(known: _Known, grant: Grant) -> Step | None:
    seed = known.home.key(grant.name)
    issue = functools.partial(_issue, known, grant)
    if known.is_external:
        what = _external_difference(known, grant) if seed.exists() else "new"
        return Step("key", grant.name, what, _RIGHTS * (what == "changed"), do=issue) if what else None
    creds = seed.with_suffix(".creds")
    if not creds.exists():
        return Step("key", grant.name, "new", do=issue)
    claims = _claims(creds)
    if claims is None or not seed.exists():
        return _of_half_a_key(known, grant, claims)
    tags = tags_of(claims)
    if tags == grant.tag_list and not _role_differs(known, grant):
        return None
    step = Step("key", grant.name, "changed", _RIGHTS, do=issue)
    return _revoking(known, step, claims["sub"], tags) if grant.is_exceeded_by(tags) else step


def _of_half_a_key(known: _Known, grant: Grant, claims: dict[str, Any] | None) -> Step:
    """A key whose credentials cannot be read, or whose seed is gone: what was given out for it counts no more."""
    seed, issue = known.home.key(grant.name), functools.partial(_issue, known, grant)
    if claims is not None:
        step, tags = Step("key", grant.name, "new", do=issue), tags_of(claims)
        return _revoking(known, step, claims["sub"], tags) if grant.is_exceeded_by(tags) else step
    step = Step("key", grant.name, "changed", _UNREADABLE, do=issue)
    return _revoking(known, step, load_or_create(grant.name, seed).public_key, None) if seed.exists() else step


async def _issue(known: _Known, grant: Grant) -> None:
    credentials(known.home, known.desired.org, grant.name)


def _external_difference(known: _Known, grant: Grant) -> str:
    if known.account_conf is None:
        return ""
    key, may = load_or_create(grant.name, known.home.key(grant.name)).public_key, allowed(known.desired.org, grant)
    if key not in known.account_conf:
        return "new"
    return "" if user_line(User(key, may.publish, may.subscribe)) in known.account_conf else "changed"


def _role_differs(known: _Known, grant: Grant) -> bool:
    if known.roles is None:
        return False
    may = known.desired.rights[grant.role]
    return known.roles.get(grant.role, ([], [])) != ([*may.publish], [*may.subscribe])


# -- keys of other machines, and of who has left ----------------------------------------------------------------------


def _given_out(home: Home, desired: Desired) -> Iterator[Step]:
    """Gateways elsewhere that have left, live here now, or have fewer agents."""
    for name, tags in remote_keys.given_out(home).items():
        grant = desired.grants.get(name) if name in desired.remote else None
        if grant is not None and not grant.is_exceeded_by(tags):
            continue
        key = remote_keys.public_key(home, name)
        yield Step(
            "key",
            name,
            "removed" if grant is None else "changed",
            _CAME_OR_LEFT if grant is None else _RIGHTS,
            _SHUT_OUT.format(name),
            (GATEWAYS, key) if key is not None else None,
            do=functools.partial(_shut_out, home, name, tags),
        )


async def _shut_out(home: Home, name: str, tags: list[str]) -> None:
    remote_keys.shut_out(home, name, tags)


def _of_a_moved_key(known: _Known, name: str) -> Step | None:
    """A key that lived here until now, and whose credentials count still."""
    seed = known.home.key(name)
    creds = seed.with_suffix(".creds")
    claims = _claims(creds) if creds.exists() else None
    revoked = Authority(known.home).revoked(account_of(name)) if creds.exists() else {}
    if claims is not None and claims.get("iat", 0) > revoked.get(claims["sub"], -1):
        return _revoking(known, Step("key", name, "changed", _MOVED), claims["sub"], tags_of(claims))
    if claims is None and creds.exists() and seed.exists():
        key = load_or_create(name, seed).public_key
        return _revoking(known, Step("key", name, "changed", _MOVED), key, None) if key not in revoked else None
    return None


def _of_the_left(known: _Known) -> Iterator[Step]:
    """The keys of who has left. Their files go last: until then they say what has to be revoked."""
    folder = known.home.dir("keys")
    names = {file.stem for suffix in ("nk", "creds") for file in folder.glob(f"*.{suffix}")}
    for name in sorted(names - known.desired.grants.keys()):
        if name.startswith(AGENT_KEY):  # what agents sign with goes when their public keys do
            continue
        seed = known.home.key(name)
        creds = seed.with_suffix(".creds")
        step = Step("key", name, "removed", _REFUSED, f"key {name} revoked", after=functools.partial(_unlink, seed))
        claims = _claims(creds) if creds.exists() else None
        if claims is not None:
            step = _revoking(known, step, claims["sub"], tags_of(claims))
        elif creds.exists() and seed.exists():
            step = _revoking(known, step, load_or_create(name, seed).public_key, None)
        yield step


def _unlink(seed: Path) -> None:
    seed.unlink(missing_ok=True)
    seed.with_suffix(".creds").unlink(missing_ok=True)


def _revoking(known: _Known, step: Step, key: str, tags: list[str] | None) -> Step:
    """The step with a revocation ahead of it. `tags`: those of the credentials, where these can be read."""
    account = account_of(step.name)

    async def revoke() -> None:
        if tags is not None:
            withdrawn.remember(known.home, step.name, tags)
        Authority(known.home).revoke(account, key)

    return replace(step, revokes=(account, key), before=revoke)


# -- reading ----------------------------------------------------------------------------------------------------------


def _claims(creds: Path) -> dict[str, Any] | None:
    """The claims of credentials; None if they cannot be read."""
    try:
        return claims_of(read_creds(creds))
    except InvalidInput:
        return None


def _read(file: Path) -> str | None:
    try:
        return file.read_text("utf-8")
    except OSError:
        return None


def _written_roles(home: Home) -> dict[str, tuple[list[str], list[str]]] | None:
    authority = Authority(home)
    if not authority.is_here:
        return None
    found: dict[str, tuple[list[str], list[str]]] = {}
    for account in ACCOUNTS:
        try:
            claims = claims_of((resolver_dir(home) / f"{authority.key(account).public_key}.jwt").read_text())
        except (OSError, InvalidInput):
            return None
        for signer in claims["nats"].get("signing_keys", ()):
            publish, subscribe = (signer["template"][side].get("allow", []) for side in ("pub", "sub"))
            found[signer["role"]] = (publish, subscribe)
    return found
