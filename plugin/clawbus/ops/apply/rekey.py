"""New keys instead of stolen ones: the old ones open nothing from then on, and what they sign counts no more."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from clawbus.bus.identity import agent_key, load_or_create
from clawbus.client.company import Company
from clawbus.errors import NotFound, Refused
from clawbus.ops.supervisor.pid_files import ProcessRecord, read_all
from clawbus.provision import remote_keys as elsewhere
from clawbus.provision.authority import Authority
from clawbus.provision.permissions import GATEWAY, grants
from clawbus.settings import Home


def forget(company: Company, names: Sequence[str]) -> None:
    """Revoke these keys and remove their files, a gateway's with those of its agents; `apply_bus` makes new ones.

    Raises NotFound for a key that the company does not have, Refused for one that lies on another machine.
    """
    granted, there = grants(company.org), elsewhere.names(company.org)
    for name in names:
        if name not in granted:
            raise NotFound(f"{company.org.company} has no key {name!r}", f"There are: {', '.join(granted)}.")
        if name in there:
            raise Refused(f"{name} lies on another machine", "`clawbus invite` lets one in, and shuts the old one out.")
    for name in names:
        seed = company.home.key(name)
        if seed.exists() and company.org.bus.url is None:
            Authority(company.home).revoke(granted[name].account, load_or_create(name, seed).public_key)
        agents = company.org.agents_of(name.partition("-")[2]) if granted[name].role == GATEWAY else ()
        for key in (name, *(agent_key(agent.id) for agent in agents)):
            company.home.key(key).unlink(missing_ok=True)
            company.home.key(key).with_suffix(".creds").unlink(missing_ok=True)


def restart_holders(home: Home, names: Sequence[str]) -> list[str]:
    """End the processes of `clawbus up` that have read such a key; it starts them again. Returns their names."""
    wanted = {f"node-{name.partition('-')[2]}" if name.startswith("gw-") else name for name in names}
    holders: list[ProcessRecord] = [
        process for process in read_all(home.dir("run")) if process.name in wanted and process.alive
    ]
    for process in holders:
        os.kill(process.pid, signal.SIGTERM)
    return sorted(process.name for process in holders)
