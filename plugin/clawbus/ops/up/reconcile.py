"""Start a company's processes, and bring running ones to a changed org.toml."""

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
    is_same,
    leaf_service,
    model_service,
    nats_service,
    node_services,
    registrar_service,
    steward_service,
)
from clawbus.provision.joined_machine import LeafLink
from clawbus.provision.ports import LOOPBACK, refuse_taken_port, wait_for_port
from clawbus.provision.server import greets


@contextlib.asynccontextmanager
async def running(plan: ServicePlan, say: Say, on_event: Callable[[str, str, str], None]) -> AsyncIterator[Supervisor]:
    """Run the company's processes while the block runs, and end all of them after it.

    Raises Missing (a port is in use, or a program is missing), or the error of a service that cannot start.
    """
    company = plan.company
    refuse_without_room(company)
    async with Supervisor(company.home, on_event) as supervisor:
        await _refuse_taken_ports(plan, [leftover.pid for leftover in supervisor.ended])
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
        async with _watched(supervisor, plan, say):
            yield supervisor


@contextlib.asynccontextmanager
async def _watched(supervisor: Supervisor, plan: ServicePlan, say: Say) -> AsyncIterator[None]:
    """Watch a server of our own while the block runs (`server_watch`)."""
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
    """Start the services that only the company's own machine has: server, steward, and registrar if it is shared."""
    company = plan.company
    if company.org.bus.url is None:
        if (before := _older_streams(company)) is not None:
            say(f"what an earlier clawbus had kept, in {before}, is not read any more: remove it when you like")
        say_room(company, say)
        say("starting nats-server")
        await supervisor.add(nats_service(plan, write_server_config(company)))
    await apply_bus(company, {}, say)
    await supervisor.add(steward_service(company), *([registrar_service(company)] if company.org.bus.shared else []))


def _older_streams(company: Company) -> Path | None:
    """The folder of streams from before there were accounts, which nobody reads now; None if there is none."""
    folder = company.home.root / "nats" / "jetstream" / "jetstream" / "$G"
    return folder if folder.exists() else None


async def _leaf(supervisor: Supervisor, plan: ServicePlan, link: LeafLink, say: Say) -> None:
    """Start the leaf, unless a `clawbus leaf` runs already."""
    if await greets(LOOPBACK, link.port):
        say(f"what answers on {LOOPBACK}:{link.port} is taken for the leaf: it is not started here")
        return
    say(f"starting the leaf, which dials {link.hub}")
    await supervisor.add(leaf_service(plan.company, plan.nats_server))


async def _refuse_taken_ports(plan: ServicePlan, ended: Collection[int]) -> None:
    """Raises Missing if a port is taken. `ended`: processes that were ended just now, and may hold ports a moment."""
    for field, port, host in _ports(plan):
        await wait_for_port(port, ended, host)
        refuse_taken_port(field, port, plan.company.org_file, host)


def _ports(plan: ServicePlan) -> Iterator[tuple[str, int, str]]:
    """The ports of this machine's processes: (field of org.toml, port, address)."""
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
    """Bring the running processes to org.toml. `apply_bus` has changed the bus before.

    A service that is the same goes on. Raises Refused for a change that needs a new start, or the error of a service
    that cannot start.
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
    again = [service for service in gateways if service.name in present and not is_same(service, present[service.name])]
    # Steward and nodes read org.toml only when they start. Turns run on in their gateways meanwhile, and a node takes
    # them up again from its ledger.
    if old != new:
        stewards = [steward_service(plan.company)] if plan.company.here is None else []
        again += [*stewards, *(service for service in nodes if service.name in present)]
    for service in again:
        await _restart(supervisor, service, say)
    fresh = [service for service in (*gateways, *nodes) if service.name not in present]
    if fresh:
        say(f"starting {', '.join(service.name for service in fresh)}")
        await supervisor.add(*fresh)
    if not plan.model_port and MODEL in present:  # no gateway needs it any more
        await supervisor.stop(MODEL)
        say(f"{MODEL} ended")


async def _restart(supervisor: Supervisor, service: Service, say: Say) -> None:
    if service.name in supervisor.services:
        await supervisor.stop(service.name)
    await supervisor.add(service)
    say(f"{service.name} restarted")
