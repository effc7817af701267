"""A company on somebody else's nats-server: its accounts and users as a piece of that server's configuration.

The same accounts, exports and permissions as our own server gets in JWTs; users are known there by their nkeys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clawbus.bus.identity import Identity, is_public_key
from clawbus.errors import InvalidInput
from clawbus.org import Org
from clawbus.provision.accounts import ACCOUNTS, OFFICE, Account, Service, described
from clawbus.provision.config import quoted
from clawbus.provision.permissions import Grant, allowed, grants
from clawbus.settings import Home, write_secret

_SUBJECT = re.compile(r"[A-Za-z0-9_$*-]+(\.[A-Za-z0-9_$*-]+)*(\.>)?|>")


@dataclass(frozen=True, slots=True)
class User:
    """A public nkey, and the subjects that its holder may publish and subscribe to. Nothing else is allowed."""

    public_key: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def write_account(home: Home, org: Org, identities: Mapping[str, Identity]) -> Path:
    """Write account.conf (mode 600), and return its path. `identities`: those of all the company's keys.

    Included in the block `accounts` of a configuration, companies on one server do not see each other, whatever
    their ids: subjects and streams of an account are its own (docs.nats.io, "Multi Tenancy using Accounts").
    """
    target = account_file(home)
    home.dir("nats")
    write_secret(target, account_conf(org, identities))
    return target


def account_conf(org: Org, identities: Mapping[str, Identity]) -> str:
    """The accounts of the company as text."""
    granted = grants(org).values()
    by_account = {name: [grant for grant in granted if grant.account == name] for name in ACCOUNTS}
    head = '# Written by clawbus from org.toml. In the configuration of your nats-server: accounts { include "…" }\n'
    return head + "\n".join(_account(org, name, mine, identities) for name, mine in by_account.items())


def account_file(home: Home) -> Path:
    return home.root / "nats" / "account.conf"


def account_name(org: Org, account: str) -> str:
    """The name of an account of the company on a server that has others, too."""
    return org.company if account == OFFICE else f"{org.company}-{account.lower()}"


def _account(org: Org, account: str, mine: list[Grant], identities: Mapping[str, Identity]) -> str:
    users = [
        User(identities[grant.name].public_key, may.publish, may.subscribe)
        for grant in mine
        for may in (allowed(org, grant),)
    ]
    lines = ["  jetstream: enabled"] if account == OFFICE else []
    about = described(org, account)
    if (most := about.most_connections) is not None:
        lines.append(f"  limits: {{max_connections: {most}, max_leafnodes: {about.most_leaves}}}")
    lines += _traffic(org, about)
    listed = "\n".join(f"    {user_line(user)}" for user in users)
    return "\n".join(
        [f"{quoted('company', account_name(org, account))}: {{", *lines, f"  users: [\n{listed}\n  ]", "}"]
    )


def _traffic(org: Org, account: Account) -> list[str]:
    """The exports and imports of an account."""
    name = {other: quoted("company", account_name(org, other)) for other in ACCOUNTS}
    exports = [f'{{stream: "{subject}"}}' for subject in account.overheard_by_others]
    exports += [_exported(service) for service in account.answers]
    imports = [
        f'{{stream: {{account: {name[stream.said_in]}, subject: "{stream.subject}"}}}}' for stream in account.overhears
    ]
    imports += [
        f'{{service: {{account: {name[service.by]}, subject: "{service.subject}"}}, to: "{service.local}"}}'
        for service in account.asks
    ]
    lists = {"exports": exports, "imports": imports}
    return [f"  {word}: [{', '.join(lines)}]" for word, lines in lists.items() if lines]


def _exported(service: Service) -> str:
    kind = ", response_type: stream" if service.many else ""
    # So long the server keeps the way back open (nats-server, accounts, exports).
    within = f', threshold: "{service.within_s}s"' if service.within_s is not None else ""
    return f'{{service: "{service.subject}"{kind}{within}}}'


def user_line(user: User) -> str:
    """A user as the configuration has it. Raises InvalidInput for a key or a subject that is none."""
    if not re.fullmatch(r"U[A-Z2-7]{55}", user.public_key) or not is_public_key(user.public_key):
        raise InvalidInput("public_key", user.public_key, "not the public nkey of a user")
    publish, subscribe = _rule("publish", user.publish), _rule("subscribe", user.subscribe)
    return f"{{nkey: {user.public_key}, permissions: {{publish: {publish}, subscribe: {subscribe}}}}}"


def _rule(field: str, allowed_subjects: tuple[str, ...]) -> str:
    """An empty list of allowed subjects means "all" to nats-server: nothing is written as a denial of all."""
    for subject in allowed_subjects:
        if not _SUBJECT.fullmatch(subject):
            raise InvalidInput(field, subject, "not a subject")
    if not allowed_subjects:
        return '{deny: [">"]}'
    return "{allow: [" + ", ".join(f'"{subject}"' for subject in allowed_subjects) + "]}"
