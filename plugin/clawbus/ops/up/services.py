"""The services of a company: the command of each process, and its check for being ready."""

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
    """The services to run. `claw`: for own gateways. `model_port`: for agents with the scripted model."""

    company: Company
    claw: OpenClaw | None
    nats_server: Path | None = None
    model_port: int | None = None
    force_souls: bool = False
    model_pace_s: float = 0.0
    """The seconds that the scripted model waits before each answer."""

    @property
    def model_url(self) -> str | None:
        return _url_of(self.model_port) if self.model_port else None

    @property
    def own_gateways(self) -> list[str]:
        """The company's own gateways that run here."""
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
    """The leaf of a joined machine. It dials the hub that CLAWBUS_HUB names, or the hub of its last start."""
    argv = [sys.executable, "-m", "clawbus", "-v", "leaf", "--org", str(company.org_file)]
    argv += ["--hub", hub] if (hub := variable(HUB_VAR)) else []
    argv += ["--nats-server", str(nats_server)] if nats_server else []
    port = company.here.leaf.port if company.here and company.here.leaf else 0
    ready = functools.partial(server.wait_ready, port, _SERVER_READY_S)
    return Service(LEAF, argv, child_environment(), company.home.log("leaf-keeper"), ready)


def model_service(plan: ServicePlan, port: int) -> Service:
    """The scripted model on a port, which is recorded for the next start."""
    home = plan.company.home
    # Here the caller holds the company's lock, so no second `up` can write it at the same time.
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
    """The own gateways. Writes settings, plugin and souls; a running gateway reads its settings again by itself."""
    return [_gateway(plan, gateway, say) for gateway in plan.own_gateways]


def node_services(company: Company) -> list[Service]:
    """A node for each gateway of this machine; a Python program needs none."""
    return [_node(company, gateway.id) for gateway in company.gateways_here if not gateway.is_program]


def is_same(service: Service, running: Service) -> bool:
    """True if a running service needs no restart to become `service`."""
    return _facts(service) == _facts(running)


def _facts(service: Service) -> tuple[object, ...]:
    ready = service.ready.args if isinstance(service.ready, functools.partial) else ()
    return list(service.argv), dict(service.env), service.cwd, ready


def _gateway(plan: ServicePlan, gateway: str, say: Say) -> Service:
    company = plan.company
    if plan.claw is None:
        raise Missing("there is no OpenClaw to run the company's own gateways", "Run `clawbus doctor`.")
    plugin = assemble(company.home.dir("plugin") / own.PLUGIN)
    for agent in company.org.agents_of(gateway):  # before the settings, by which a running gateway starts the agent
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
    """The scripted model's address in the settings that `clawbus apply` would write; None if no agent needs it."""
    port = _kept_port(company) or 0  # 0: it has never run, so its port is not known yet
    return _url_of(port) if _plays_a_part(company) else None


def model_port(company: Company, running: bool = False) -> int | None:
    """A port for the scripted model; None if no agent of an own gateway needs it.

    It is the same at each start, so that settings do not change; another one if it is taken. `running`: the model has
    taken it.
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
    """True if an agent in an own gateway of this machine has the scripted model."""
    org = company.org
    ours = {gateway.id for gateway in company.gateways_here if gateway.is_ours}
    return any(agent.gateway in ours and org.model_of(agent) == own.SCRIPTED for agent in org.agents)


def _kept_port(company: Company) -> int | None:
    """The last port of the scripted model; None if it has never run."""
    with contextlib.suppress(OSError, ValueError):
        return int(_port_file(company).read_text())
    return None


def _url_of(port: int) -> str:
    return f"http://127.0.0.1:{port}/v1"


def _port_file(company: Company) -> Path:
    return company.home.root / "run" / "model.port"
