"""A company's processes on this machine, under one supervisor: server, scripted model, gateways, nodes."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from clawbus.company import Company
from clawbus.errors import Missing
from clawbus.gateway import own
from clawbus.gateway.openclaw import OpenClaw
from clawbus.gateway.plugin import assemble
from clawbus.gateway.readiness import wait_ready as gateway_ready
from clawbus.provision import server
from clawbus.provision.permissions import key_names, users
from clawbus.provision.ports import refuse_taken_port
from clawbus.provision.streams import provision
from clawbus.settings import child_environment
from clawbus.souls import render, write
from clawbus.supervisor import Service, Supervisor

SERVER = "nats-server"
_SERVER_READY_S = 15.0
_GATEWAY_READY_S = 300.0
_NODE_READY_S = 30.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is to run. `claw` is needed when org.toml has own gateways; `model_url` when an agent is scripted."""

    company: Company
    claw: OpenClaw | None
    nats_server: Path | None = None
    model_port: int | None = None
    force_souls: bool = False
    model_pace_s: float = 0.0
    """How long the scripted model thinks before each answer."""

    @property
    def model_url(self) -> str | None:
        return f"http://127.0.0.1:{self.model_port}/v1" if self.model_port else None

    @property
    def own_gateways(self) -> list[str]:
        return [gateway.id for gateway in self.company.org.gateways if gateway.own]


@contextlib.asynccontextmanager
async def running(plan: Plan, say: Say, on_event: Callable[[str, str, str], None]) -> AsyncIterator[Supervisor]:
    """Bring the company up, keep it up while the block runs, and end all of it after.

    Raises Missing (a port in use, a program that is missing), or what a part says that cannot start.
    """
    async with Supervisor(plan.company.home, on_event) as supervisor:
        _refuse_taken_ports(plan)
        config = write_server_config(plan.company)  # for a server that is not ours, too: its users
        if plan.company.org.bus.url is None:
            say("starting nats-server")
            await supervisor.add(_server(plan, config))
        async with plan.company.connect("provisioner") as bus:
            await provision(bus, plan.company.org)
        if plan.model_port:
            await supervisor.add(_model(plan, plan.model_port))
        gateways = [_gateway(plan, gateway, say) for gateway in plan.own_gateways]
        say(f"starting {len(gateways)} OpenClaw gateway{'s' * (len(gateways) != 1)} (10 to 60 s)")
        await supervisor.add(*gateways, *(_node(plan, gateway.id) for gateway in plan.company.org.gateways))
        yield supervisor


def _refuse_taken_ports(plan: Plan) -> None:
    org, where = plan.company.org, plan.company.org_file
    if org.bus.url is None:
        refuse_taken_port("bus.port", org.bus.port, where)
    for gateway in org.gateways:
        if gateway.own:
            refuse_taken_port(f"gateways[{gateway.id}].port", gateway.port, where)


def write_server_config(company: Company) -> Path:
    """Write nats.conf with the keys and permissions of the whole company; keys are made where they are missing."""
    keys = {name: company.identity(name) for name in key_names(company.org)}
    return server.write_config(company.home, company.org, users(company.org, keys))


def _server(plan: Plan, config: Path) -> Service:
    company = plan.company
    argv = server.command(server.find_server(plan.nats_server), config)
    ready = functools.partial(server.wait_ready, company.org.bus.port, _SERVER_READY_S)
    return Service(SERVER, argv, {}, server.log_file(company.home), ready)


def _model(plan: Plan, port: int) -> Service:
    home = plan.company.home
    argv = [sys.executable, "-m", "clawbus.demo.model", "--port", str(port), "--log", str(home.log("model-turns"))]
    argv += ["--pace", str(plan.model_pace_s)]
    return Service("scripted-model", argv, child_environment(), home.log("model"), None)


def _gateway(plan: Plan, gateway: str, say: Say) -> Service:
    """Settings, plugin and souls of an own gateway, then the command that runs it."""
    company = plan.company
    if plan.claw is None:
        raise Missing("there is no OpenClaw to run the company's own gateways", "Run `clawbus doctor`.")
    plugin = assemble(company.home.dir("plugin") / own.PLUGIN)
    mine = own.write_settings(company.home, company.org, gateway, plugin, plan.model_url)
    for agent in company.org.agents_of(gateway):
        files = render(agent, company.org)
        for line in write(mine.workspace(agent.id), files, force=plan.force_souls):
            say(line)
    ready = functools.partial(gateway_ready, mine.port, _GATEWAY_READY_S)
    log = company.home.log(f"gateway-{gateway}")
    argv = plan.claw.argv("gateway", "run")
    return Service(
        f"gateway-{gateway}", argv, own.environment(mine), log, ready, cwd=mine.folder
    )  # it reads .env there


def _node(plan: Plan, gateway: str) -> Service:
    company = plan.company
    argv = [sys.executable, "-m", "clawbus", "-v", "node", "--org", str(company.org_file), "--gateway", gateway]
    socket = company.home.socket(gateway)
    return Service(
        f"node-{gateway}",
        argv,
        child_environment(),
        company.home.log(f"node-{gateway}"),
        functools.partial(_socket_answers, socket, _NODE_READY_S),
    )


async def _socket_answers(socket: Path, timeout_s: float) -> None:
    import asyncio

    from clawbus.errors import NodeAway

    try:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    _, writer = await asyncio.open_unix_connection(socket)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    return
    except TimeoutError:
        raise NodeAway(f"the node did not listen on {os.fspath(socket)} within {timeout_s:g} s") from None
