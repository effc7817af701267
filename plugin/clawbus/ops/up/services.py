"""The services of a company: what each process is started with, and when it is ready."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clawbus.client.company import Company
from clawbus.errors import Missing, NodeAway
from clawbus.gateway.setup import managed_gateway as own
from clawbus.gateway.setup.health import wait_ready as gateway_ready
from clawbus.gateway.setup.installation import OpenClaw
from clawbus.gateway.setup.plugin_bundle import assemble
from clawbus.gateway.setup.souls import render, write
from clawbus.ops.supervisor import Service
from clawbus.provision import server
from clawbus.provision.ports import port_free
from clawbus.settings import HUB_VAR, child_environment, variable

SERVER, STEWARD, MODEL, REGISTRAR, LEAF = "nats-server", "steward", "scripted-model", "registrar", "leaf"
GATEWAY, NODE = "gateway-", "node-"
_SERVER_READY_S = 15.0
_GATEWAY_READY_S = 300.0
_NODE_READY_S = 30.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class ServicePlan:
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
        return _url_of(self.model_port) if self.model_port else None

    @property
    def own_gateways(self) -> list[str]:
        """Those that run here."""
        return [gateway.id for gateway in self.company.gateways_here if gateway.is_ours]


def nats_service(plan: ServicePlan, config: Path) -> Service:
    company = plan.company
    argv = server.command(server.find_server(plan.nats_server), config)
    bus = company.org.bus
    ready = functools.partial(server.wait_ready, bus.port, _SERVER_READY_S, bus.local_host)
    return Service(SERVER, argv, {}, server.log_file(company.home), ready)


def steward_service(company: Company) -> Service:
    argv = [sys.executable, "-m", "clawbus", "-v", "steward", "--org", str(company.org_file)]
    return Service(STEWARD, argv, child_environment(), company.home.log("steward"), None)


def registrar_service(company: Company) -> Service:
    argv = [sys.executable, "-m", "clawbus", "-v", "registrar", "--org", str(company.org_file)]
    return Service(REGISTRAR, argv, child_environment(), company.home.log("registrar"), None)


def leaf_service(company: Company, nats_server: Path | None) -> Service:
    """The leaf of a machine that has joined; it dials what the variable says, or what was said last."""
    argv = [sys.executable, "-m", "clawbus", "-v", "leaf", "--org", str(company.org_file)]
    argv += ["--hub", said] if (said := variable(HUB_VAR)) else []
    argv += ["--nats-server", str(nats_server)] if nats_server else []
    port = company.here.leaf.port if company.here and company.here.leaf else 0
    ready = functools.partial(server.wait_ready, port, _SERVER_READY_S)
    return Service(LEAF, argv, child_environment(), company.home.log("leaf-keeper"), ready)


def model_service(plan: ServicePlan, port: int) -> Service:
    """Remembers the port, too: only here, where this company's lock is held, and no second `up` can do it."""
    home = plan.company.home
    _port_file(plan.company).write_text(str(port))
    argv = [
        sys.executable,
        "-m",
        "clawbus.demo.model.server",
        "--port",
        str(port),
        "--log",
        str(home.log("model-turns")),
    ]
    argv += ["--pace", str(plan.model_pace_s)]
    return Service(MODEL, argv, child_environment(), home.log("model"), None)


def gateway_services(plan: ServicePlan, say: Say) -> list[Service]:
    """The own gateways, with settings, plugin and souls written. One that runs reads its settings again by itself."""
    return [_gateway(plan, gateway, say) for gateway in plan.own_gateways]


def node_services(company: Company) -> list[Service]:
    """A node for each gateway of this machine; a Python program needs none."""
    return [_node(company, gateway.id) for gateway in company.gateways_here if not gateway.is_program]


def same(one: Service, other: Service) -> bool:
    """Whether a running service needs no restart to be the other one."""
    return _facts(one) == _facts(other)


def _facts(service: Service) -> tuple[object, ...]:
    ready = service.ready.args if isinstance(service.ready, functools.partial) else ()
    return list(service.argv), dict(service.env), service.cwd, ready


def _gateway(plan: ServicePlan, gateway: str, say: Say) -> Service:
    company = plan.company
    if plan.claw is None:
        raise Missing("there is no OpenClaw to run the company's own gateways", "Run `clawbus doctor`.")
    plugin = assemble(company.home.dir("plugin") / own.PLUGIN)
    for agent in company.org.agents_of(gateway):  # before the settings: a gateway that runs takes the agent in at once
        workspace = company.home.dir("gateways", gateway, "workspaces", agent.id)
        for diff in write(workspace, render(agent, company.org), force=plan.force_souls):
            say(diff)
            kept = "is as you have it, and stays so: --force-souls takes the lines with +"
            say(f"This file of {agent.id} {'has been replaced' if plan.force_souls else kept}.")
    mine = own.write_settings(company.home, company.org, gateway, plugin, plan.model_url)
    return Service(
        f"{GATEWAY}{gateway}",
        plan.claw.argv("gateway", "run"),
        own.environment(mine),
        company.home.log(f"gateway-{gateway}"),
        functools.partial(gateway_ready, mine.port, _GATEWAY_READY_S),
        cwd=mine.folder,  # it reads .env there
    )


def _node(company: Company, gateway: str) -> Service:
    argv = [sys.executable, "-m", "clawbus", "-v", "node", "--org", str(company.org_file), "--gateway", gateway]
    ready = functools.partial(_socket_answers, company.home.socket(gateway), _NODE_READY_S)
    return Service(f"{NODE}{gateway}", argv, child_environment(), company.home.log(f"node-{gateway}"), ready)


async def _socket_answers(path: Path, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    _, writer = await asyncio.open_unix_connection(path)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    return
    except TimeoutError:
        raise NodeAway(f"the node did not listen on {os.fspath(path)} within {timeout_s:g} s") from None


def planned_model_url(company: Company) -> str | None:
    """The address of the scripted model in the settings that `clawbus apply` would write; None where none wants it."""
    port = _kept_port(company) or 0  # 0: where it has never listened, it is not known yet
    return _url_of(port) if _plays_a_part(company) else None


def model_port(company: Company, running: bool = False) -> int | None:
    """A port for the scripted model, None if no agent of an own gateway wants it.

    The same at each start, so that settings stay as they are; another one if it is taken. `running`: it is taken by
    the model itself.
    """
    if not _plays_a_part(company):
        return None
    port = _kept_port(company)
    if port is not None and (running or port_free("127.0.0.1", port)):
        return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _plays_a_part(company: Company) -> bool:
    """Whether an agent in an own gateway of this machine has the scripted model."""
    org = company.org
    ours = {gateway.id for gateway in company.gateways_here if gateway.is_ours}
    return any(agent.gateway in ours and org.model_of(agent) == own.SCRIPTED for agent in org.agents)


def _kept_port(company: Company) -> int | None:
    """Where the scripted model listens, or has listened last."""
    with contextlib.suppress(OSError, ValueError):
        return int(_port_file(company).read_text())
    return None


def _url_of(port: int) -> str:
    return f"http://127.0.0.1:{port}/v1"


def _port_file(company: Company) -> Path:
    return company.home.root / "run" / "model.port"
