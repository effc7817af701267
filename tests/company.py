"""A real company for tests: its own nats-server, nodes and OpenClaw gateways, each a process that can be killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from clawbus.bus import Bus
from clawbus.client.company import Company, who_is_online
from clawbus.errors import ClawbusError
from clawbus.gateway import GatewayRpc
from clawbus.gateway.setup import managed_gateway as own
from clawbus.gateway.setup.health import wait_ready as gateway_ready
from clawbus.gateway.setup.installation import OpenClaw
from clawbus.gateway.setup.plugin_bundle import assemble
from clawbus.gateway.setup.souls import render, write
from clawbus.node.prompts.frames import RESULT_MARK
from clawbus.ops.apply.apply import write_server_config
from clawbus.provision import server
from clawbus.provision.plan import provision, publish_keys
from clawbus.tasks import TaskView
from clawbus.wire.channels import ENDS

T = TypeVar("T")
ROOT = Path(__file__).parent.parent
CLAWBUS = [sys.executable, "-m", "clawbus", "-v"]
NODE = [*CLAWBUS, "node"]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now.

    A gateway uses some above its own, so they lie apart. Each process of a parallel run has a range of its own, below
    those that the system gives to outgoing connections.
    """
    found: list[int] = []
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
    offset = (os.getpid() * 131) % 4_800
    while len(found) < count:
        offset = (offset + 130) % 4_800
        port = 12_000 + 5_000 * worker + offset
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found


async def until(look: Callable[[], Awaitable[T | None]], what: str, timeout_s: float = 30.0) -> T:
    """Look again until there is something true: how a test waits for an event that nobody announces to it."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = await look()
        if found:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"{what}: not within {timeout_s:g} s")


def duo_toml(ports: list[int], model: str = "scripted", lease_s: int = 10) -> str:
    """A company of a CEO and a CTO, each in a gateway of its own."""
    return f"""
company = "acme"
model = "{model}"
bus.port = {ports[0]}
policies.lease_s = {lease_s}
[[gateways]]
id = "hq"
port = {ports[1]}
[[gateways]]
id = "lab"
port = {ports[2]}
[[agents]]
id = "ceo-genesis"
name = "Genesis"
role = "role-ceo"
gateway = "hq"
[[agents]]
id = "cto-athena"
name = "Athena"
role = "role-cto"
reports_to = "ceo-genesis"
gateway = "lab"
[[humans]]
id = "owner"
"""


class Live:
    """The processes of one company. Everything is started and killed by name: nats-server, node-hq, gateway-lab."""

    def __init__(self, folder: Path, toml: str, claw: OpenClaw | None, model_url: str) -> None:
        self.org_file = folder / "org.toml"
        self.org_file.write_text(toml)
        self.company = Company.open(self.org_file)
        self.org, self.home = self.company.org, self.company.home
        self.claw = claw
        self.model_url = model_url
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    # -- one process ---------------------------------------------------------------------------------------------

    def _command(self, name: str) -> tuple[list[str], dict[str, str]]:
        kind, _, gateway = name.partition("-")
        if name == "nats-server":
            config = write_server_config(self.company)
            return server.command(server.find_server(), config), dict(os.environ)
        if kind == "steward":  # steward-1, steward-2: any number
            return [*CLAWBUS, "steward", "--org", str(self.org_file)], dict(os.environ)
        if kind == "node":
            return [*NODE, "--org", str(self.org_file), "--gateway", gateway], dict(os.environ)
        if kind == "program":
            return [sys.executable, "-m", "tests.program", "--org", str(self.org_file), "--gateway", gateway], {
                **os.environ,
                "PYTHONPATH": str(ROOT),
            }
        assert self.claw is not None
        plugin = assemble(self.home.dir("plugin") / "clawbus")
        mine = own.write_settings(self.home, self.org, gateway, plugin, self.model_url)
        for agent in self.org.agents_of(gateway):
            write(mine.workspace(agent.id), render(agent, self.org))
        return self.claw.argv("gateway", "run"), own.environment(mine)

    def launch(self, name: str, extra_env: dict[str, str] | None = None) -> None:
        """Start a process without waiting for it."""
        argv, env = self._command(name)
        with self.home.log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                argv,
                env={**env, **(extra_env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def launch_dying(self, name: str, step: str) -> None:
        """Start a node that kills itself at a step of its work."""
        argv = [
            sys.executable,
            "-m",
            "tests.dying_node",
            step,
            "--org",
            str(self.org_file),
            "--gateway",
            name.partition("-")[2],
        ]
        with self.home.log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                argv,
                cwd=Path(__file__).parent.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def launch_program(self, name: str, *more: str) -> None:
        """Start a program of tests.program with further options."""
        argv, env = self._command(name)
        with self.home.log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*argv, *more], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    async def died(self, name: str, timeout_s: float = 60.0) -> None:
        """Wait until a process has ended by itself."""

        async def look() -> bool:
            return self.processes[name].poll() is not None

        await until(look, f"the death of {name}", timeout_s)
        self.kill(name)

    async def ready(self, name: str, timeout_s: float = 240.0) -> None:
        """Wait until a process can be used."""
        kind, _, gateway = name.partition("-")
        if name == "nats-server":
            await server.wait_ready(self.org.bus.port, timeout_s)
        elif kind == "program":
            await until(lambda: self._present(gateway), f"the presence of {name}", timeout_s)
        elif kind == "gateway":
            await gateway_ready(self.org.gateway(gateway).port, timeout_s)
        elif kind != "steward":  # it answers to nobody: what it does is seen
            await until(lambda: self._answers(gateway), f"the socket of {name}", timeout_s)

    async def _present(self, gateway: str) -> bool:
        async with self.owner() as bus:
            roster = await who_is_online(bus, self.company)
        return all(roster.online(agent.id) for agent in self.org.agents_of(gateway))

    async def _answers(self, gateway: str) -> bool:
        try:
            _, writer = await asyncio.open_unix_connection(self.home.socket(gateway))
        except OSError:
            return False
        writer.close()
        return True

    async def start(self, *names: str) -> None:
        for name in names:
            self.launch(name)
        for name in names:
            await self.ready(name)

    def kill(self, name: str, signum: int = signal.SIGKILL) -> None:
        """Kill a process and all that it has started, as the death of a machine would."""
        process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signum)
        process.wait(30)

    def end(self) -> None:
        for name in list(self.processes):
            self.kill(name)

    async def online(self, *agents: str, at: str = "hq") -> None:
        """Wait until a node has heard that these agents are there."""
        me = self.org.agents_of(at)[0].id

        async def look() -> bool:
            answer = await self.tool(at, me, "nats_org", online=True)
            return {*agents} <= {agent["id"] for agent in answer["data"].get("agents", [])}

        await until(look, f"{agents} online", 60)

    async def view(self, task_id: str) -> TaskView:
        async with self.owner() as bus:
            return await self.company.history(bus).task(task_id)

    async def settled(self, task_id: str, timeout_s: float = 90.0) -> TaskView:
        """Wait until a task has ended and its result has reached who asked."""

        async def look() -> TaskView | None:
            try:
                view = await self.view(task_id)
            except ClawbusError:
                return None
            return view if view.ended_by and view.delivery in ("announced", "answered") else None

        return await until(look, f"the end and the announce of {task_id}", timeout_s)

    async def spawn(self, text: str, session: str | None = None, **more: Any) -> str:
        """The CEO gives the CTO a task. Returns its id."""
        answer = await self.tool("hq", "ceo-genesis", "nats_spawn", session, agentId="cto-athena", task=text, **more)
        assert answer["ok"], answer
        return str(answer["data"]["taskId"])

    async def ends(self, task_id: str) -> int:
        """How many ends the server holds for a task."""
        async with self.owner() as bus:
            return len(await bus.stored(ENDS, self.company.subjects.ends_of(task_id)))

    async def announces(self, task_id: str, session: str = "agent:ceo-genesis:main") -> list[str]:
        """The messages in a session that announce a task's result."""
        mark = f"{RESULT_MARK} {task_id}"
        return [text for role, text in await self.transcript("hq", session) if role == "user" and mark in text]

    # -- the bus and the gateways --------------------------------------------------------------------------------

    async def provision(self) -> None:
        async with self.company.connect("provisioner") as bus:
            await provision(bus, self.org)
            await publish_keys(bus, self.org, self.home)

    @contextlib.asynccontextmanager
    async def owner(self) -> AsyncIterator[Bus]:
        async with self.company.connect("me-owner") as bus:
            yield bus

    @contextlib.asynccontextmanager
    async def rpc(self, gateway: str) -> AsyncIterator[GatewayRpc]:
        async with GatewayRpc(self.org.gateway(gateway).port, self.company.token_file(gateway)).running() as rpc:
            await asyncio.wait_for(rpc.ready.wait(), 60)
            yield rpc

    async def tool(
        self, gateway: str, agent: str, tool: str, session: str | None = None, **params: Any
    ) -> dict[str, Any]:
        """Call a tool over the node's socket, as the shim does."""
        reader, writer = await asyncio.open_unix_connection(self.home.socket(gateway), limit=4 << 20)
        call = {
            "v": 1,
            "tool": tool,
            "params": params,
            "agentId": agent,
            "sessionKey": session or f"agent:{agent}:main",
        }
        writer.write(json.dumps(call).encode() + b"\n")
        line = await reader.readline()
        writer.close()
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def say(self, gateway: str, agent: str, text: str, session: str | None = None) -> str:
        """A user's message to an agent, as a chat would bring it. Returns the run id."""
        async with self.rpc(gateway) as rpc:
            key = f"user-{time.monotonic_ns()}"
            await rpc.call(
                "agent",
                {
                    "message": text,
                    "agentId": agent,
                    "sessionKey": session or f"agent:{agent}:main",
                    "idempotencyKey": key,
                    "deliver": False,
                },
            )
            return key

    async def transcript(self, gateway: str, session: str) -> list[tuple[str, str]]:
        """(role, text) of each message of a session."""
        async with self.rpc(gateway) as rpc:
            answer = await rpc.call("chat.history", {"sessionKey": session, "maxChars": 400_000, "limit": 500})
        return [(message["role"], _text(message["content"])) for message in answer["messages"]]


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content if isinstance(part, dict))


@contextlib.asynccontextmanager
async def live(folder: Path, claw: OpenClaw | None, model_url: str = "", toml: str = "") -> AsyncIterator[Live]:
    """A company with its server up and provisioned; nodes and gateways are started by the test."""
    company = Live(folder, toml or duo_toml(free_ports(3)), claw, model_url)
    try:
        await company.start("nats-server")
        await company.provision()
        yield company
    finally:
        company.end()
