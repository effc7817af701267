"""The checks of `clawbus doctor` that ask the bus: as a person, or as a gateway where no person has a key."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from clawbus.bus import STEWARD_READER
from clawbus.client.company import Company, overheard, who_is_online
from clawbus.client.halt import standing
from clawbus.errors import ClawbusError
from clawbus.gateway.setup import managed_gateway
from clawbus.gateway.setup.health import status_of
from clawbus.ops.apply import plan
from clawbus.ops.doctor import Check, failed
from clawbus.ops.up import planned_model_url
from clawbus.org import STEWARD
from clawbus.provision.permission_probe import LABEL, allowed_of_them, tried_keys
from clawbus.provision.permissions import PROVISIONER
from clawbus.provision.stream_probe import unwritable
from clawbus.tasks.roster import Unwell
from clawbus.wire.channels import ENDS, EVENTS, INBOX, TASKS

_LOOKS = 4
"""Looks at the roster: a busy node may answer late."""
_STEWARD_LOOKS, _STEWARD_S = 9, 0.5
"""Looks at a steward that does not wait for events: it may be busy, or connecting anew."""


async def connection(company: Company) -> str:
    """The server's version and what its streams hold; on a machine that has joined, that it takes the credentials.

    Raises BusAway or Refused.
    """
    if company.here is not None:  # no person has a key here
        async with company.connect(_gateway_key(company)) as bus:
            return f"nats-server {bus.server_version} takes this machine's credentials"
    async with company.connect_person(None) as (bus, _):
        counts = []
        for stream in (TASKS, INBOX, EVENTS, ENDS):
            info = await bus.api(f"STREAM.INFO.{stream}")
            counts.append(f"{stream} {info['state']['messages']}")
        stopped = [str(order) for order in (await standing(bus, company)).standing()]
        return ", ".join([f"nats-server {bus.server_version}", *counts, *stopped])


async def try_forbidden(company: Company) -> dict[str, list[str]]:
    """The calls that the server wrongly allowed, by key. One key of each kind is tried. Raises BusAway or Refused."""
    here = [gateway.id for gateway in company.gateways_here]
    keys = [key for key in tried_keys(company.org, here) if company.home.key(key).exists()]
    found = {}
    for key in keys:
        async with company.connect(key, LABEL) as bus:
            found[key] = await allowed_of_them(bus, company.org, key)
    return found


async def of_the_company(company: Company) -> list[Check]:
    """The checks that ask the bus and the programs beside it. Most can run on the company's own machine only."""
    of_all = {"streams": _writing, "org.toml": _applied, "steward": _stewarded, "agents": _answering}
    tries = of_all if company.here is None else {}
    model = [await _model(company)] if planned_model_url(company) is not None else []
    return model + [await _tried(name, functools.partial(look, company, name)) for name, look in tries.items()]


async def unwell(company: Company) -> dict[str, Unwell]:
    """The agents whose turns fail before a model is asked, as their nodes say. Raises BusAway or Refused."""
    if company.here is None:
        async with company.connect_person(None) as (bus, _):
            roster = await who_is_online(bus, company)
    else:  # no person has a key here, and a gateway's may not call the roll: each node speaks every few seconds
        mine = [agent.id for gateway in company.gateways_here for agent in company.org.agents_of(gateway.id)]
        async with company.connect(_gateway_key(company), LABEL) as bus:
            roster = await overheard(bus, company, mine)
    found = {agent.id: roster.unwell(agent.id) for agent in company.org.agents}
    return {agent: why for agent, why in found.items() if why is not None}


async def _tried(name: str, look: Callable[[], Awaitable[Check]]) -> Check:
    try:
        return await look()
    except ClawbusError as error:
        return failed(name, error)


async def _writing(company: Company, name: str) -> Check:
    """Checks that each stream takes a write: nothing else shows that the server can write a stream no more."""
    async with company.connect(PROVISIONER) as bus:
        shut = await unwritable(bus, company.org)
    if not shut:
        return Check(name, True, "each has taken a write, and given it back")
    first = next(iter(shut.values()))
    return Check(name, False, f"{', '.join(shut)} took no write: {first.message}", first.remedy)


async def _model(company: Company) -> Check:
    """Checks that the scripted model answers where own gateways ask it. A real one is asked by tasks only."""
    url = str(planned_model_url(company))
    name, status = f"model {managed_gateway.SCRIPTED}", await status_of(urlsplit(url).port or 0, "/v1/models")
    if status == 200:
        return Check(name, True, f"answers at {url}")
    remedy = "Run `clawbus up`; if it runs, look at .clawbus/logs/model.log."
    said = "nothing answers" if status is None else f"something else answers ({status})"
    return Check(name, False, f"{said} at {url}", remedy)


async def _applied(company: Company, name: str) -> Check:
    """Checks that the bus, the keys and the gateways are as org.toml says now."""
    async with company.connect(PROVISIONER) as bus:
        changes = await plan(company, bus, planned_model_url(company))
    left = [f"{change.name} {change.what}" for change in changes if change.what != "differs"]
    if not left:
        return Check(name, True, "the bus, the keys and the gateways are as it says")
    more = f" and {len(left) - 3} more" if left[3:] else ""
    remedy = "Run `clawbus apply`; `clawbus plan` shows what it changes."
    return Check(name, False, f"not applied: {', '.join(left[:3])}{more}", remedy)


async def _stewarded(company: Company, name: str) -> Check:
    """Checks that a steward waits for events, or moves on with some.

    Events that are handed out prove nothing: those of a steward that died stay handed out.
    """
    async with company.connect(STEWARD, LABEL) as bus:
        seen = set()
        for look in range(_STEWARD_LOOKS):
            await asyncio.sleep(_STEWARD_S if look else 0)
            said = await bus.api(f"CONSUMER.INFO.{EVENTS}.{STEWARD_READER}")
            seen.add((said["delivered"]["consumer_seq"], said["ack_floor"]["consumer_seq"], said["num_ack_pending"]))
            if said["num_waiting"] or len(seen) > 1:
                break
    if not said["num_waiting"] and len(seen) == 1:
        detail = "nobody reads what happens: no alerts, no deadlines, nothing is chained or repeated"
        return Check(name, False, detail, "Run `clawbus up`, which runs one; its log: .clawbus/logs/steward.log.")
    return Check(name, True, f"reads what happens, {said['num_pending']} events behind")


async def _answering(company: Company, name: str) -> Check:
    """Checks that each agent's node answers on the bus. A program of yours, or another machine, may be off."""
    own = {gateway.id for gateway in company.gateways_here if not gateway.is_program}
    expected = {agent.id for agent in company.org.agents if agent.gateway in own}
    silent = {agent.id for agent in company.org.agents}
    async with company.connect_person(None) as (bus, _):
        for _ in range(_LOOKS):
            roster = await who_is_online(bus, company)
            silent = {agent for agent in silent if not roster.has_heard([agent])}
            if not silent:
                return Check(name, True, f"all {len(company.org.agents)} answer on the bus")
    said = f"nothing is heard of {', '.join(sorted(silent))}"
    if silent & expected:
        return Check(name, False, said, "Run `clawbus up`; if it runs, look at .clawbus/logs/node-*.log.")
    return Check(name, None, said, "A program or a machine of theirs is off, or `clawbus doctor` there says why not.")


def _gateway_key(company: Company) -> str:
    """The key of a gateway of this machine, which has joined."""
    assert company.here is not None  # noqa: S101 - its callers have looked
    return f"gw-{min(company.here.served, default=company.here.gateways[0])}"
