"""What each role can do in a real own gateway, and its files in OpenClaw's own tooling."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from clawbus.gateway.setup import claw_package as claws
from clawbus.gateway.setup.command import Command
from clawbus.gateway.setup.installation import OpenClaw
from clawbus.gateway.setup.souls import FILES, render
from clawbus.gateway.setup.tool_policy import policy
from clawbus.node.tools.params import TOOLS
from clawbus.org import parse
from clawbus.settings import Home, child_environment
from tests.company import Live, free_ports, live

pytestmark = [pytest.mark.gateway, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]
SIX = {tool.name for tool in TOOLS}
ROLES = ("researcher", "engineer", "ceo", "writer", "security")
CHANGES = {"write", "edit", "apply_patch"}
WITHOUT_EXEC = ("ceo", "researcher", "writer")
RUN = {"command": "echo ran >> attempt.txt"}
ATTEMPTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("exec", RUN),
    ("tool_call", {"id": "exec", "args": RUN}),
    ("tool_search", {"query": "run shell command exec process terminal code write edit file", "limit": 20}),
)


@dataclass
class Model:
    """An OpenAI-like server whose model makes certain calls in each turn, and nothing else.

    Unless they are said, it tries to run a command: directly, and by the tool catalog.
    """

    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=lambda: [*ATTEMPTS])
    requests: list[dict[str, Any]] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError):  # or a connection not used
            await self._answer(reader, writer)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        body = json.loads(await reader.readexactly(int(head.split("content-length:")[1].split("\r\n")[0])))
        self.requests.append(body)
        tried = any(message["role"] == "tool" for message in body["messages"])
        delta = {"role": "assistant"} | ({"content": "done"} if tried else {"tool_calls": self._attempts()})
        last = {"index": 0, "delta": {}, "finish_reason": "stop" if tried else "tool_calls"}
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for choice in ({"index": 0, "delta": delta, "finish_reason": None}, last):
            chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
            writer.write(f"data: {json.dumps(chunk)}\n\n".encode())
        writer.write(b"data: [DONE]\n\n")
        await writer.drain()

    def heard(self) -> list[str]:
        """What the last turn's calls have answered, in their order."""
        return [str(message["content"]) for message in self.requests[-1]["messages"] if message["role"] == "tool"]

    def _attempts(self) -> list[dict[str, Any]]:
        return [
            {
                "index": at,
                "id": f"call_{at}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(args)},
            }
            for at, (name, args) in enumerate(self.calls)
        ]


def company_toml() -> str:
    ports = free_ports(2)
    agents = "".join(f'[[agents]]\nid = "{role}-1"\nrole = "role-{role}"\ngateway = "hq"\n' for role in ROLES)
    return f'company = "acme"\nbus.port = {ports[0]}\n[[gateways]]\nid = "hq"\nport = {ports[1]}\n{agents}'


async def turn(company: Live, agent: str, session: str = "try") -> None:
    """A whole turn of an agent; begun again if the gateway drops it, as it does while it reads its settings."""
    run = {"message": "Do it.", "agentId": agent, "sessionKey": f"agent:{agent}:{session}", "deliver": False}
    async with company.rpc("hq") as rpc:
        for attempt in range(3):
            accepted = await rpc.call("agent", {**run, "idempotencyKey": f"{session}-{agent}-{attempt}"})
            ended = await rpc.call("agent.wait", {"runId": accepted["runId"], "timeoutMs": 60_000}, timeout_s=70)
            if ended["status"] == "ok":
                return
    raise AssertionError(ended)


@pytest.fixture(scope="module")
def model() -> Model:
    return Model()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def company(tmp_path_factory: pytest.TempPathFactory, claw: OpenClaw, model: Model) -> AsyncIterator[Live]:
    """One gateway with an agent of each role."""
    folder = tmp_path_factory.mktemp("roles")
    async with model.serving() as url, live(folder, claw, url, company_toml()) as company:
        await company.start("gateway-hq")
        yield company


async def test_c3_a_researcher_is_offered_nothing_that_runs_code(company: Live, model: Model) -> None:
    """One gateway, five roles, one command that each model tries to run: only the roles whose work it is can run it.

    Neither the tools in the request nor OpenClaw's catalog behind them offer the others a way, and all keep the bus.
    """
    model.calls, offered, found, ran = [*ATTEMPTS], {}, {}, {}
    for role in ROLES:
        await turn(company, f"{role}-1")
        request = model.requests[-1]
        offered[role] = {tool["function"]["name"] for tool in request["tools"]}
        *_, listed = (message["content"] for message in request["messages"] if message["role"] == "tool")
        found[role] = {entry["name"] for entry in json.loads(listed)}
        attempt = company.home.root / "gateways" / "hq" / "workspaces" / f"{role}-1" / "attempt.txt"
        ran[role] = attempt.read_text().count("ran") if attempt.exists() else 0
    log = company.home.log("gateway-hq").read_text()
    runs = {"exec", "process", "terminal", "nodes", "code_execution"}
    for role in ("researcher", "ceo", "writer"):
        assert ran[role] == 0
        assert not runs & (offered[role] | found[role]), role
    for role in ("engineer", "security"):
        assert ran[role] == 2
        assert {"exec", "process"} <= offered[role]
    for role in ("researcher", "ceo", "security"):
        assert not CHANGES & (offered[role] | found[role]), role
    assert offered["engineer"] >= CHANGES
    assert offered["writer"] >= CHANGES - {"apply_patch"}  # it comes with `write` where the model can use it
    for role in ROLES:
        assert offered[role] >= {*SIX, "read"}
        assert not {"openclaw", "gateway", "plugins", "automations", "skill_workshop"} & (offered[role] | found[role])
    unknown = {name for names in re.findall(r"unknown entries \(([^)]*)\)", log) for name in names.split(", ")}
    assert unknown <= {"view_image", "pdf", "group:memory"}, "OpenClaw's own, which this model or set-up has no use for"


async def test_a_role_without_exec_reads_no_key_of_the_company(company: Live, model: Model) -> None:
    """Not by an absolute path, nor by one that climbs, nor by a link in its workspace, and it lists no folder of keys.

    What lies in its workspace it reads, files that others have sent among them; and the skills that it is told of.
    """
    root = company.home.root.resolve()
    key = root / "authority" / "operator.nk"
    secret = key.read_text().strip()
    assert secret.startswith("SO")
    for role in WITHOUT_EXEC:
        workspace = root / "gateways" / "hq" / "workspaces" / f"{role}-1"
        up = "/".join([".."] * len(workspace.relative_to(root).parts))
        (workspace / "to-key").symlink_to(key)
        (workspace / "to-folder").symlink_to(key.parent)
        (workspace / "notes.md").write_text("a note of mine")
        (workspace / "from-others" / "t1").mkdir(parents=True)
        (workspace / "from-others" / "t1" / "report.md").write_text("a report of another")
        model.calls = [("read", {"path": "notes.md"})]
        await turn(company, f"{role}-1", "first")
        skills = skills_of(model.requests[-1])
        assert len(skills) >= 3, "our own"
        ways = [str(key), f"{up}/authority/operator.nk", f"./{up}/authority/../authority/operator.nk"]
        ways += ["to-key", str(workspace / "to-key"), "to-folder/operator.nk", f"file://{key}", f"~/{up}/{key}"]
        ways += [
            str(root / "keys" / "provisioner.nk"),
            str(root / "gateways" / "hq" / "token"),
            "/proc/self/environ",
        ]
        model.calls = [("read", {"path": way}) for way in ways]
        model.calls += [("ls", {"path": way}) for way in (str(key.parent), f"{up}/authority", "to-folder")]
        model.calls += [("read", {"path": way}) for way in ("notes.md", "from-others/t1/report.md", *skills)]
        await turn(company, f"{role}-1", "second")
        said = model.heard()
        assert len(said) == len(model.calls)
        seen = len(ways) + 3
        for way, answer in zip(model.calls[:seen], said[:seen], strict=True):
            assert not re.search(r"\bS[ACOU][A-Z2-7]{56}\b|operator\.nk\s*$|OPENCLAW_", answer), (role, way, answer)
            assert "error" in answer.lower() or "not found" in answer.lower(), (role, way, answer)
        assert "a note of mine" in said[seen]
        assert "a report of another" in said[seen + 1]
        for place, answer in zip(skills, said[seen + 2 :], strict=True):
            assert answer.lstrip().startswith("---"), (place, answer)


def skills_of(request: dict[str, Any]) -> list[str]:
    """Where the skills of this company lie, as the model is told."""
    told = json.dumps(request["messages"][0]["content"], ensure_ascii=False)
    return [place for place in re.findall(r"<location>([^<]+)</location>", told) if "nats-" in place]


async def test_openclaws_own_tooling_takes_a_role_as_a_claw(tmp_path: Path, claw: OpenClaw) -> None:
    """`openclaw claws add` of what join offers: no blocker, the role's tools disclosed, and then the very files."""
    org = parse(
        {
            "company": "acme",
            "gateways": [{"id": "mine", "port": 28410, "own": False}],
            "agents": [{"id": "res-ada", "name": 'Ada "the eye"', "role": "role-researcher", "gateway": "mine"}],
        }
    )
    claws.offer(Home(tmp_path / ".clawbus"), org, "mine")
    folder, workspace, config = tmp_path / ".clawbus/souls/res-ada", tmp_path / "ws-ada", tmp_path / "openclaw.json"
    config.write_text(json.dumps({"gateway": {"mode": "local"}, "agents": {"entries": {"solo": {}}}}))
    env = child_environment(
        HOME=str(tmp_path),
        OPENCLAW_STATE_DIR=str(tmp_path / "state"),
        OPENCLAW_CONFIG_PATH=str(config),
        OPENCLAW_OFFLINE="1",
        OPENCLAW_EXPERIMENTAL_CLAWS="1",
    )
    add = ["claws", "add", str(folder), "--workspace", str(workspace), "--json"]
    plan = json.loads(await run(Command(claw.argv(), env), *add, "--dry-run"))
    assert plan["blockers"] == []
    assert [change["effect"]["tools"] for change in plan["capabilityChanges"]] == [policy("role-researcher")]
    await run(Command(claw.argv(), env), *add, "--yes", "--plan-integrity", plan["planIntegrity"])
    made = render(org.agent("res-ada"), org)
    assert {name: (workspace / name).read_text() for name in FILES} == made
    entry = json.loads(config.read_text())["agents"]["entries"]["res-ada"]
    assert entry["name"] == 'Ada "the eye"'
    assert {"read", "clawbus", "web_fetch"} <= set(entry["tools"]["allow"])
    assert entry["tools"]["deny"] == policy("role-researcher")["deny"]


async def run(command: Command, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command.argv, *arguments, env=command.env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, (out + err).decode()
    return out.decode()
