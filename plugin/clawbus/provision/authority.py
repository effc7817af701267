"""The keys that make a company: its operator's, its accounts', and one per role that may sign credentials.

They lie in `.clawbus/authority`, and nowhere else: no process but those that start the company, change it, or renew
credentials reads them. Revoked keys are remembered there, with the second up to which their credentials count no more.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clawbus.bus.identity import ACCOUNT, OPERATOR, USER, Identity, load_or_create
from clawbus.bus.jwt import encode
from clawbus.file_lock import locked
from clawbus.org import Org
from clawbus.provision.accounts import ACCOUNTS, OFFICE, Account, Service, described
from clawbus.provision.permissions import ROLES, rights
from clawbus.settings import Home, write_secret

SYSTEM = "SYS"
WATCHER = "watcher"
HEALTH = "$SYS.REQ.SERVER.PING.HEALTHZ"
WATCHES_S = 86_400
_NO_LIMIT = -1
_NS = 1_000_000_000
_UNBOUNDED = dict.fromkeys(("subs", "data", "payload"), _NO_LIMIT)
_LIMITS = {**_UNBOUNDED, **dict.fromkeys(("imports", "exports", "conn"), _NO_LIMIT), "leaf": 0, "wildcards": True}
_JETSTREAM = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), _NO_LIMIT)


@dataclass(frozen=True, slots=True)
class Authority:
    """The authority of the company in this home."""

    home: Home

    @property
    def is_here(self) -> bool:
        """True if this machine can issue credentials: a second machine cannot."""
        return (self.home.root / "authority" / "operator.nk").exists()

    def key(self, name: str) -> Identity:
        """The operator's key, an account's, a role's, or that of a user of the system; made where it is missing."""
        kind = OPERATOR if name == "operator" else USER if name in ("system", WATCHER) else ACCOUNT
        return load_or_create(name, self._folder / f"{name}.nk", kind)

    @property
    def _folder(self) -> Path:
        return self.home.dir("authority")

    # -- for the server -----------------------------------------------------------------------------------

    def operator(self, org: Org) -> str:
        """The JWT of the operator: the one thing that the server has to believe."""
        key = self.key("operator")
        nats = {"type": "operator", "system_account": self.key(SYSTEM).public_key}
        return encode(key.public_key, org.company, nats, key, iat=0)

    def accounts(self, org: Org) -> dict[str, str]:
        """The JWT of each account, by its public key: exports and imports, signing keys, revoked keys."""
        found = {self.key(SYSTEM).public_key: self._account(SYSTEM, {})}
        for name in ACCOUNTS:
            key = self.key(name)
            account = described(org, name)
            nats = {**self._traffic(account), "signing_keys": self._signers(org, name)}
            if revoked := self.revoked(name):
                nats["revocations"] = revoked
            limits = _connections(account) | (_JETSTREAM if name == OFFICE else {})
            found[key.public_key] = self._account(name, nats, limits)
        return found

    def system_user(self) -> str:
        """The JWT of the user that may tell the server of changed accounts."""
        key = self.key("system")
        nats = {"type": "user", "pub": {}, "sub": {}, **_UNBOUNDED}
        return encode(key.public_key, "system", nats, self.key(SYSTEM), iat=_now(), exp=_now() + 300)

    def watcher(self) -> str:
        """The JWT of the user that may ask the server whether it is well, and nothing else."""
        key = self.key(WATCHER)
        may = {"pub": {"allow": [HEALTH]}, "sub": {"allow": [f"_INBOX.{WATCHER}.>"]}}
        nats = {"type": "user", **may, **_UNBOUNDED}
        return encode(key.public_key, WATCHER, nats, self.key(SYSTEM), iat=_now(), exp=_now() + WATCHES_S)

    def _account(self, name: str, nats: dict[str, Any], more_limits: dict[str, Any] | None = None) -> str:
        content = {"type": "account", "limits": {**_LIMITS, **(more_limits or {})}, **nats}
        return encode(self.key(name).public_key, name, content, self.key("operator"), iat=_now())

    def _traffic(self, account: Account) -> dict[str, Any]:
        """The exports and imports of an account."""
        exports = [_named(subject, "stream") for subject in account.overheard_by_others]
        exports += [_export(service) for service in account.answers]
        imports = [
            {**_named(stream.subject, "stream"), "account": self.key(stream.said_in).public_key}
            for stream in account.overhears
        ]
        return {"exports": exports, "imports": imports + [self._import(service) for service in account.asks]}

    def _import(self, service: Service) -> dict[str, Any]:
        found = {**_named(service.subject, "service"), "account": self.key(service.by).public_key}
        return found | ({"local_subject": service.local} if service.local != service.subject else {})

    def _signers(self, org: Org, account: str) -> list[dict[str, Any]]:
        """One signing key per role: it can make credentials of that role, and of no other."""
        found = []
        for role in (role for role, home in ROLES.items() if home == account):
            may = rights(org, role)
            template = {
                "pub": {"allow": list(may.publish)} if may.publish else {"deny": [">"]},
                "sub": {"allow": list(may.subscribe)} if may.subscribe else {"deny": [">"]},
                **_UNBOUNDED,
            }
            found.append({"kind": "user_scope", "key": self.key(role).public_key, "role": role, "template": template})
        return found

    # -- revoked keys -----------------------------------------------------------------------------------------

    def revoked(self, account: str) -> dict[str, int]:
        """The revoked keys of an account, each with the second up to which its credentials do not count."""
        return self._revoked().get(account, {})

    def revoke(self, account: str, public_key: str) -> None:
        """Credentials of this key that were issued until now count no more; what is issued later does.

        They are kept by account: the server is told of each changed account, and of no other (`account_push`).
        """
        with locked(self._folder / "revoked.lock", wait=True):  # `apply` and the registrar may do so at once
            found = self._revoked()
            found.setdefault(account, {})[public_key] = _now()
            write_secret(self._folder / "revoked.json", json.dumps(found))

    def _revoked(self) -> dict[str, dict[str, int]]:
        """By account. A file of an earlier clawbus names no account: such a key counts in none of them."""
        try:
            found: dict[str, Any] = json.loads((self._folder / "revoked.json").read_text())
        except FileNotFoundError:
            return {}
        old = {key: second for key, second in found.items() if isinstance(second, int)}
        return {account: old | found.get(account, {}) for account in ACCOUNTS} if old else found


def _connections(account: Account) -> dict[str, int]:
    most = account.most_connections
    return {"conn": _NO_LIMIT if most is None else most, "leaf": account.most_leaves}


def _named(subject: str, kind: str) -> dict[str, Any]:
    return {"name": subject, "subject": subject, "type": kind}


def _export(service: Service) -> dict[str, Any]:
    found = _named(service.subject, "service")
    if service.many:
        found["response_type"] = "Stream"
    if service.within_s is not None:
        found["response_threshold"] = service.within_s * _NS
    return found


def _now() -> int:
    return int(time.time())
