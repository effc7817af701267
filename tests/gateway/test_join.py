"""`clawbus join` with the real openclaw: into a gateway that a user has set up, and out again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from clawbus.errors import Refused
from clawbus.gateway import GatewayRpc
from clawbus.gateway.setup import installation as openclaw
from clawbus.gateway.setup.command import Command, CompletedCommand
from clawbus.gateway.setup.health import wait_ready
from clawbus.gateway.setup.join import Join
from clawbus.gateway.setup.plugin_bundle import assemble
from clawbus.node.tools.params import TOOLS
from clawbus.node.tools.schema import MAX_BYTES, request_bytes
from clawbus.settings import child_environment
from tests.company import free_ports
from tests.up import Up

pytestmark = [pytest.mark.gateway, pytest.mark.timeout(600)]
NAMES = [tool.name for tool in TOOLS]
TOKEN = "a-token-of-the-user-that-is-long-enough-for-the-audit"

BY_CODE = """
company = "acme"
[bus]
port = {ports[0]}
leaf_port = {ports[1]}
listen = "0.0.0.0"
hosts = ["127.0.0.1"]
[[gateways]]
id = "hq"
kind = "program"
[[gateways]]
id = "far"
own = false
elsewhere = true
port = {ports[2]}
[[agents]]
id = "ceo"
gateway = "hq"
[[agents]]
id = "solo"
reports_to = "ceo"
gateway = "far"
"""
INFO = {"summary.attack_surface"}
NOT_OURS = {
    "gateway.trusted_proxies_missing",  # about a reverse proxy in front of the gateway; there is none
    "gateway.probe_failed",  # the audit could not call the gateway: here none runs
}
OURS = {"plugins.tools_reachable_permissive_policy"}
"""Explained in docs/security.md."""


def findings(audit: CompletedCommand) -> dict[str, set[str]]:
    """What the audit has found, by severity."""
    found: dict[str, set[str]] = {}
    for one in audit.data()["findings"]:
        found.setdefault(one["severity"], set()).add(one["checkId"])
    return found


@dataclass
class Model:
    """An OpenAI-like server that keeps each request's bytes. It calls nats_org if it has it, then says done."""

    requests: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        body = await reader.readexactly(int(head.split("content-length:")[1].split("\r\n")[0]))
        self.requests.append(body)
        messages = json.loads(body)["messages"]
        function = {"name": "nats_org", "arguments": "{}"}
        call = {"index": 0, "id": f"call_{len(self.requests)}", "type": "function", "function": function}
        called = any(message["role"] == "tool" for message in messages) or '"nats_org"' not in body.decode()
        delta = {"role": "assistant"} | ({"content": "done"} if called else {"tool_calls": [call]})
        last = {"index": 0, "delta": {}, "finish_reason": "stop" if called else "tool_calls"}
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for choice in ({"index": 0, "delta": delta, "finish_reason": None}, last):
            chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
            writer.write(f"data: {json.dumps(chunk)}\n\n".encode())
        writer.write(b"data: [DONE]\n\n")
        await writer.drain()
        writer.close()

    def tools(self) -> list[dict[str, Any]]:
        """Our function objects in the last request that had any tools."""
        offered = json.loads(self.requests[-1]).get("tools", [])
        return [tool for tool in offered if tool["function"]["name"].startswith("nats_")]

    def answers(self) -> list[str]:
        """What the tools said, in the last request."""
        return [m["content"] for m in json.loads(self.requests[-1])["messages"] if m["role"] == "tool"]


@dataclass
class UserGateway:
    """A gateway as a person may have set it up, with comments in its file."""

    folder: Path
    port: int
    model_port: int = 9

    @property
    def config(self) -> Path:
        return self.folder / "openclaw.json"

    @property
    def socket(self) -> Path:
        return self.folder / "node.sock"

    def write(self, text_more: str = "") -> None:
        for name in ("home", "state", "ws"):
            (self.folder / name).mkdir(mode=0o700)
        model = {"id": "m", "name": "M", "input": ["text"], "contextWindow": 128000, "maxTokens": 8000}
        url = f"http://127.0.0.1:{self.model_port}/v1"
        provider = {"baseUrl": url, "apiKey": "x", "api": "openai-completions", "models": [model]}
        settings = {
            "gateway": {
                "mode": "local",
                "port": self.port,
                "bind": "loopback",
                "auth": {"mode": "token", "token": TOKEN},
            },
            "models": {"mode": "replace", "providers": {"p": provider}},
            "agents": {
                "ownership": "explicit",
                "defaults": {"skipBootstrap": True, "heartbeat": {"every": "0m", "target": "none"}},
                "entries": {"solo": {"workspace": str(self.folder / "ws"), "model": "p/m"}},
            },
            "plugins": {"allow": ["memory-core"]},
            "logging": {"file": str(self.folder / "gateway.log")},
        }
        self.config.write_text(f"// mine\n{json.dumps(settings, indent=1)}{text_more}\n")
        self.config.chmod(0o600)
        (self.folder / "token").write_text(TOKEN)

    def joining(self, claw: openclaw.OpenClaw) -> Join:
        env = child_environment(
            HOME=str(self.folder / "home"),
            OPENCLAW_STATE_DIR=str(self.folder / "state"),
            OPENCLAW_CONFIG_PATH=str(self.config),
            OPENCLAW_NO_RESPAWN="1",
            OPENCLAW_DISABLE_BONJOUR="1",
            OPENCLAW_OFFLINE="1",
        )
        return Join(Command(claw.argv(), env), self.config, assemble(self.folder / "plugin"))

    def settings(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self.config.read_text())
        return data

    @contextlib.asynccontextmanager
    async def running(self, joining: Join) -> AsyncIterator[GatewayRpc]:
        command = joining.openclaw
        with (self.folder / "out").open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *command.argv, "gateway", "run", env=command.env, stdout=out, stderr=out, start_new_session=True
            )
            try:
                await wait_ready(self.port, 240)
                async with GatewayRpc(self.port, self.folder / "token").running() as rpc:
                    await asyncio.wait_for(rpc.ready.wait(), 60)
                    yield rpc
            finally:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()


async def turn(rpc: GatewayRpc, number: int) -> None:
    """A user's message in a session of its own, until its turn has ended."""
    key = f"turn-{number}"
    where = {"agentId": "solo", "sessionKey": f"agent:solo:{key}", "idempotencyKey": key}
    await rpc.call("agent", {"message": "go", "deliver": False, **where})
    await rpc.call("agent.wait", {"runId": key, "timeoutMs": 60_000}, 90)


async def test_join_twice_then_undo(tmp_path: Path, claw: openclaw.OpenClaw) -> None:
    """Joined once: audit without a critical finding, skills ready, tools there. Twice: nothing to change.

    Undone: what the user had and what he changed since is there, and nothing of ours.
    """
    mine = UserGateway(tmp_path, free_ports(1)[0])
    mine.write()
    original = mine.config.read_bytes()
    joining = mine.joining(claw)
    audit = await joining.openclaw.run("security", "audit", "--deep", "--json")
    assert findings(audit) == {"info": INFO, "warn": NOT_OURS}, audit.data()["findings"]  # before us
    plan = await joining.plan(mine.socket)
    assert plan.install
    assert {change.path for change in plan.changes} == {"plugins.entries.clawbus", "plugins.allow", "tools.alsoAllow"}
    assert any("comments" in line for line in plan.lines())
    assert mine.config.read_bytes() == original  # a plan changes nothing

    backup, _ = await joining.apply(plan)
    assert backup.read_bytes() == original
    assert backup.stat().st_mode & 0o777 == 0o600
    assert mine.settings()["plugins"]["allow"] == ["memory-core", "clawbus"]
    assert mine.settings()["gateway"]["auth"]["token"] == TOKEN
    assert (await joining.plan(mine.socket)).empty

    audit, skills, plugin = await asyncio.gather(
        joining.openclaw.run("security", "audit", "--deep", "--json"),
        joining.openclaw.run("skills", "list", "--json"),
        joining.openclaw.run("plugins", "inspect", "clawbus", "--runtime", "--json"),
    )
    assert findings(audit) == {"info": INFO, "warn": NOT_OURS | OURS}, audit.data()["findings"]
    ready = {skill["name"] for skill in skills.data()["skills"] if skill["eligible"] and not skill["disabled"]}
    assert {"nats-delegate", "nats-inbox", "nats-worker"} <= ready
    assert plugin.data()["plugin"]["toolNames"] == NAMES
    assert plugin.data()["plugin"]["status"] == "loaded"

    changed = mine.settings()
    changed["tools"]["profile"] = "coding"
    mine.config.write_text(json.dumps(changed))
    audit = await joining.openclaw.run("security", "audit", "--deep", "--json")
    assert findings(audit)["warn"] == NOT_OURS  # a gateway that bounds its tools has no warning of ours

    del changed["tools"]["profile"]
    changed["tools"]["alsoAllow"].append("lobster")
    changed["plugins"]["allow"].insert(0, "talk-voice")
    mine.config.write_text(json.dumps(changed))
    assert await joining.undo()
    left = mine.settings()
    assert left["tools"] == {"alsoAllow": ["lobster"]}
    assert left["plugins"]["allow"] == ["talk-voice", "memory-core"]
    assert not left["plugins"].get("entries")
    assert await joining.openclaw.plugin_folder("clawbus") is None
    assert await joining.undo() is None


async def test_a_failure_names_the_command_and_leaves_the_gateway_as_it_was(
    tmp_path: Path, claw: openclaw.OpenClaw
) -> None:
    """OpenClaw refuses to write settings that lie in an included file: one sentence, no trace of a join."""
    mine = UserGateway(tmp_path, free_ports(1)[0])
    mine.write()
    (tmp_path / "tools.json5").write_text('{profile: "coding"}')
    text = mine.config.read_text().replace('"logging"', '"tools": {"$include": "./tools.json5"}, "logging"')
    mine.config.write_text(text)
    joining = mine.joining(claw)
    plan = await joining.plan(mine.socket)
    with pytest.raises(Refused) as caught:
        await joining.apply(plan)
    assert caught.value.message.startswith("`openclaw config patch")
    assert "include" in caught.value.message
    assert "\n" not in caught.value.message
    assert mine.config.read_text() == text
    assert not (tmp_path / "clawbus-join.json").exists()
    assert not list((tmp_path / "state").glob("extensions/*"))


async def test_a_running_gateway_takes_the_plugin_up_and_a_call_goes_through(
    tmp_path: Path, claw: openclaw.OpenClaw
) -> None:
    """The model gets the six tools directly, within their bytes, and what the node answers. Undone: none of them."""
    model, calls = Model(), asyncio.Queue[dict[str, Any]]()

    async def node(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.put_nowait(json.loads(await reader.readline()))
        writer.write('{"ok":true,"text":"nobody is online ☃"}\n'.encode())
        writer.close()

    server = await asyncio.start_server(model.serve, "127.0.0.1", 0)
    mine = UserGateway(tmp_path, free_ports(1)[0], server.sockets[0].getsockname()[1])
    mine.write()
    joining = mine.joining(claw)
    async with server, await asyncio.start_unix_server(node, mine.socket), mine.running(joining) as rpc:
        await turn(rpc, 1)
        assert model.tools() == []

        await joining.apply(await joining.plan(mine.socket))
        await turn(rpc, 2)
        offered = sorted(model.tools(), key=lambda tool: NAMES.index(tool["function"]["name"]))
        print(f"the six functions in the request: {request_bytes(offered)} bytes")
        assert offered == [tool.function() for tool in TOOLS]
        assert request_bytes(offered) <= MAX_BYTES
        for tool in offered:  # and the gateway sends them as compact JSON: these very bytes are in the request
            assert json.dumps(tool, separators=(",", ":"), ensure_ascii=False).encode() in model.requests[-1]
        call = calls.get_nowait()
        assert (call["tool"], call["agentId"], call["sessionKey"]) == ("nats_org", "solo", "agent:solo:turn-2")
        assert model.answers() == ["nobody is online ☃"]

        await joining.undo()
        await turn(rpc, 3)
        assert model.tools() == []


async def test_a_gateway_that_has_come_in_by_a_code_has_no_other_finding(
    tmp_path: Path, claw: openclaw.OpenClaw
) -> None:
    """`clawbus join CODE` on another machine puts in what any join does: the same audit."""
    ports = free_ports(3)
    (tmp_path / "user").mkdir()
    mine = UserGateway(tmp_path / "user", ports[2])
    mine.write()
    for name in ("hub", "there"):
        (tmp_path / name).mkdir()
    up = Up(tmp_path / "hub", BY_CODE.format(ports=ports))
    try:
        await up.ready()
        code = (await asyncio.to_thread(up.run, "invite", "solo")).stdout.strip()
        options = ["--config", str(mine.config), "--state", str(tmp_path / "user" / "state"), "--yes"]
        line = [sys.executable, "-m", "clawbus", "join", code, *options]
        done = await asyncio.to_thread(
            subprocess.run, line, cwd=tmp_path / "there", capture_output=True, text=True, timeout=300
        )
    finally:
        up.end()
    assert done.returncode == 0, done.stdout + done.stderr
    assert TOKEN not in done.stdout + done.stderr
    audit = await mine.joining(claw).openclaw.run("security", "audit", "--deep", "--json")
    assert findings(audit) == {"info": INFO, "warn": NOT_OURS | OURS}, audit.data()["findings"]
