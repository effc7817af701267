"""Bringing a company's processes up, and to what a changed org.toml says while they run."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from pathlib import Path

from clawbus.client.company import Company
from clawbus.errors import Refused
from clawbus.ops.apply.apply import apply_bus, write_server_config
from clawbus.ops.supervisor import Service, Supervisor
from clawbus.ops.up.server_watch import ServerWatch, refuse_without_room, say_room
from clawbus.ops.up.services import (
    GATEWAY,
    MODEL,
    NODE,
    Say,
    ServicePlan,
    gateway_services,
    leaf_service,
    model_service,
    nats_service,
    node_services,
    registrar_service,
    same,
    steward_service,
)
from clawbus.provision.joined_machine import LeafLink
from clawbus.provision.ports import LOOPBACK, refuse_taken_port, wait_for_port
from clawbus.provision.server import greets


@contextlib.asynccontextmanager
async def running(plan: ServicePlan, say: Say, on_event: Callable[[str, str, str], None]) -> AsyncIterator[Supervisor]:
    """Bring the company up, keep it up while the block runs, and end all of it after.

    Raises Missing (a port in use, a program that is missing), or what a part says that cannot start.
    """
    company = plan.company
    refuse_without_room(company)
    async with Supervisor(company.home, on_event) as supervisor:
        await _refuse_taken_ports(plan, [one.pid for one in supervisor.ended])
        if company.here is None:
            await _bus(supervisor, plan, say)
        elif company.here.leaf is not None:
            await _leaf(supervisor, plan, company.here.leaf, say)
        if plan.model_port:
            await supervisor.add(model_service(plan, plan.model_port))
        gateways = gateway_services(plan, say)
        if gateways:
            say(f"starting {len(gateways)} OpenClaw gateway{'s' * (len(gateways) != 1)} (10 to 60 s)")
        await supervisor.add(*gateways, *node_services(company))
        async with _kept(supervisor, plan, say):
            yield supervisor


@contextlib.asynccontextmanager
async def _kept(supervisor: Supervisor, plan: ServicePlan, say: Say) -> AsyncIterator[None]:
    """While the block runs, a server of our own is watched: whether it keeps what is said."""
    if plan.company.store is None:
        yield
        return
    watching = asyncio.create_task(ServerWatch(supervisor, plan.company, say).run())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _bus(supervisor: Supervisor, plan: ServicePlan, say: Say) -> None:
    """What only the company's own machine runs: server, steward, and for other machines the registrar.

    Here nobody has to ask for credentials: the authority's keys lie here.
    """
    company = plan.company
    if company.org.bus.url is None:
        if (before := _of_an_older_one(company)) is not None:
            say(f"what an earlier clawbus had kept, in {before}, is not read any more: remove it when you like")
        say_room(company, say)
        say("starting nats-server")
        await supervisor.add(nats_service(plan, write_server_config(company)))
    await apply_bus(company, {}, say)
    await supervisor.add(steward_service(company), *([registrar_service(company)] if company.org.bus.shared else []))


def _of_an_older_one(company: Company) -> Path | None:
    """The streams of the time before accounts: the server's own account, which nobody of the company reads."""
    folder = company.home.root / "nats" / "jetstream" / "jetstream" / "$G"
    return folder if folder.exists() else None


async def _leaf(supervisor: Supervisor, plan: ServicePlan, link: LeafLink, say: Say) -> None:
    """The leaf of a machine that has one, unless `clawbus leaf` runs beside us."""
    if await greets(LOOPBACK, link.port):
        say(f"what answers on {LOOPBACK}:{link.port} is taken for the leaf: it is not started here")
        return
    say(f"starting the leaf, which dials {link.hub}")
    await supervisor.add(leaf_service(plan.company, plan.nats_server))


async def _refuse_taken_ports(plan: ServicePlan, ended: Collection[int]) -> None:
    """Raises Missing. `ended`: the processes of an earlier `up` that were ended just now, and may not be quite gone."""
    for field, port, host in _ports(plan):
        await wait_for_port(port, ended, host)
        refuse_taken_port(field, port, plan.company.org_file, host)


def _ports(plan: ServicePlan) -> Iterator[tuple[str, int, str]]:
    """Those that this machine's processes listen on, each with its place in org.toml and the address."""
    bus = plan.company.org.bus
    if bus.url is None and plan.company.here is None:
        yield "bus.port", bus.port, bus.listen
        if bus.shared:
            yield "bus.join_port", bus.enrol_port, bus.listen
            yield "bus.leaf_port", bus.leaf_port, bus.listen
    for gateway in plan.company.gateways_here:
        if gateway.is_ours:
            yield f"gateways[{gateway.id}].port", gateway.port, LOOPBACK


async def reconcile(supervisor: Supervisor, before: ServicePlan, plan: ServicePlan, say: Say) -> None:
    """Bring the running processes to what org.toml says now; the bus has been changed already (`change.apply_bus`).

    What is the same goes on. A node reads org.toml when it starts, so each is restarted if that has changed, one
    after the other: turns run on in their gateways, and the node takes them up again from its ledger.
    Raises Refused for what only a new start can change, or what a part says that cannot start.
    """
    old, new = before.company.org, plan.company.org
    if old.company != new.company or (plan.company.here is None and old.bus != new.bus):
        raise Refused(
            "company and [bus] cannot change while it runs", "End `clawbus up` with Ctrl-C and start it again."
        )
    present = supervisor.services
    gateways, nodes = gateway_services(plan, say), node_services(plan.company)
    wanted = {service.name for service in (*gateways, *nodes)}
    for name in (name for name in present if name.startswith((NODE, GATEWAY)) and name not in wanted):
        await supervisor.stop(name)
        say(f"{name} ended")
    if plan.model_port and MODEL not in present:
        await supervisor.add(model_service(plan, plan.model_port))
    again = [one for one in gateways if one.name in present and not same(one, present[one.name])]
    if old != new:
        duties = [steward_service(plan.company)] if plan.company.here is None else []
        again += [*duties, *(one for one in nodes if one.name in present)]
    for service in again:
        await _again(supervisor, service, say)
    fresh = [one for one in (*gateways, *nodes) if one.name not in present]
    if fresh:
        say(f"starting {', '.join(one.name for one in fresh)}")
        await supervisor.add(*fresh)
    if not plan.model_port and MODEL in present:  # no gateway asks it any more
        await supervisor.stop(MODEL)
        say(f"{MODEL} ended")


async def _again(supervisor: Supervisor, service: Service, say: Say) -> None:
    if service.name in supervisor.services:
        await supervisor.stop(service.name)
    await supervisor.add(service)
    say(f"{service.name} restarted")
