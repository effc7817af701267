"""The published workflow on real gateways: the CEO posts to the team, the CTO works and reports, the CEO delegates on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from clawbus import connect
from clawbus.demo.model.server import ScriptedModel
from clawbus.errors import ClawbusError
from clawbus.gateway.setup.installation import OpenClaw
from clawbus.settings import asset_folder
from clawbus.tasks import TaskView
from tests.company import Live, free_ports, live, until
from tests.gateway.conftest import MAIN
from tests.server.test_guests import KOMODO_TASK, QUERY, guest

pytestmark = [pytest.mark.gateway, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]
APP = asset_folder("examples") / "node18-app"
TOML = """
company = "acme"
bus.port = {}
policies.lease_s = 10
guests.enabled = true
[[gateways]]
id = "hq"
port = {}
[[gateways]]
id = "lab"
port = {}
[[agents]]
id = "ceo-genesis"
role = "role-ceo"
gateway = "hq"
[[agents]]
id = "cto-athena"
role = "role-cto"
reports_to = "ceo-genesis"
gateway = "lab"
[[agents]]
id = "eng-hal"
role = "role-engineer"
team = "build"
reports_to = "cto-athena"
gateway = "lab"
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def team(tmp_path_factory: pytest.TempPathFactory, claw: OpenClaw, brain: ScriptedModel) -> AsyncIterator[Live]:
    async with live(tmp_path_factory.mktemp("team"), claw, brain.url, TOML.format(*free_ports(3))) as company:
        await company.start("gateway-hq", "gateway-lab", "node-hq", "node-lab", "steward-1")
        await company.online("ceo-genesis", "cto-athena", "eng-hal")
        await company.say("hq", "ceo-genesis", "@reply hello", MAIN)  # a session must exist to be woken
        yield company


async def ended(team: Live, to: str) -> TaskView:
    """The newest task that was given to somebody, once it has its end."""

    async def look() -> TaskView | None:
        async with team.owner() as bus:
            views = [view for view in await team.company.history(bus).tasks() if view.to == to and view.ended_by]
        return views[-1] if views else None

    return await until(look, f"the end of a task for {to}", 120)


async def test_k7_the_documents_workflow_runs_without_a_human(team: Live) -> None:
    """A task posted to the team is taken by the CTO, who greps with real commands and reports places; the CEO, woken in
    the session that asked, gives the fixes to the engineering team; nobody but models has said anything."""
    task = f"Can this Node project go from Node 18 to Node 22?\\nFolder: {APP}"
    wish = f"Have what is found fixed by build.\n@spawn exec {task}"
    await team.say("hq", "ceo-genesis", wish, MAIN)
    report = await ended(team, "exec")
    assert (report.worker, report.state) == ("cto-athena", "done")
    assert "src/auth/encrypt.ts:32" in report.result
    assert "scripts/cleanup.ts:11" in report.result
    fixes = await ended(team, "build")
    assert (fixes.requester, fixes.worker, fixes.state) == ("ceo-genesis", "eng-hal", "done")
    assert "src/auth/encrypt.ts:32" in fixes.result


async def test_k7_a_person_reads_along_and_steps_in(team: Live) -> None:
    """At any point: the task and its state are there to be read, and a word of the person ends it for both sides."""
    answer = await team.tool("hq", "ceo-genesis", "nats_spawn", MAIN, agentId="exec", task="@hang", label="too much")
    task_id = answer["data"]["taskId"]
    async with connect(team.org_file) as person:

        async def running() -> bool:
            try:
                return (await person.look(task_id)).state == "running"
            except ClawbusError:
                return False

        await until(running, "the turn", 60)
        won, result = await person.cancel(task_id)
    assert (won, result.status) == (True, "cancelled")
    view = await team.settled(task_id)
    assert (view.state, view.ended_by, view.worker) == ("cancelled", "owner", "cto-athena")


async def test_k2_the_documents_own_publish_reaches_agents_as_a_turn(team: Live, brain: ScriptedModel) -> None:
    """`nats pub komodo-ai.exec '{…}'`, as printed, by a plain client: each agent of the team has a turn for it, which says
    that the sender is not verified."""
    session = "agent:cto-athena:nats:from-external"
    async with guest(team) as client:
        await client.publish("komodo-ai.exec", KOMODO_TASK.encode())
        await client.flush()

    async def woken() -> str | None:
        texts = [text for role, text in await team.transcript("lab", session) if role == "user"]
        return next((text for text in texts if "Node 18 EOL" in text), None)

    text = await until(woken, "the turn", 90)
    assert "UNVERIFIED" in text
    assert "r2://komodo-ai/tasks/node22-migration-brief.md" in text

    async def ceo_too() -> bool:
        return any(turn.get("session") == "agent:ceo-genesis:nats:from-external" for turn in brain.turns)

    await until(ceo_too, "the CEO's turn", 60)


async def test_g3_the_tutorials_request_gets_an_agents_answer(team: Live) -> None:
    """`nc.request("genbrain.agents.cto.inbox", …)`: the first reply is what a real turn of the CTO has said."""
    async with guest(team) as client:
        reply = await client.request("genbrain.agents.cto.inbox", json.dumps(QUERY).encode(), timeout=60)
    answer = json.loads(reply.data)
    assert (answer["status"], answer["from"]) == ("done", "cto-athena")
    assert "staging_health_check" in answer["answer"]


async def test_c1_each_gateway_has_its_port_workspaces_souls_skills_and_model(team: Live) -> None:
    """Several gateways on one machine, each with its own of everything; one holds two agents, each with its own soul."""
    async with team.rpc("hq") as hq, team.rpc("lab") as lab:
        listed = {name: await rpc.call("agents.list", {}) for name, rpc in (("hq", hq), ("lab", lab))}
    assert {one["id"] for one in listed["hq"]["agents"]} == {"ceo-genesis"}
    assert {one["id"] for one in listed["lab"]["agents"]} == {"cto-athena", "eng-hal"}
    settings = {name: team.home.root / "gateways" / name / "openclaw.json" for name in ("hq", "lab")}
    assert settings["hq"].read_text() != settings["lab"].read_text()
    assert team.org.gateway("hq").port != team.org.gateway("lab").port
    for agent, gateway in (("ceo-genesis", "hq"), ("cto-athena", "lab"), ("eng-hal", "lab")):
        workspace = team.home.root / "gateways" / gateway / "workspaces" / agent
        assert str(workspace) in settings[gateway].read_text()
        assert f"({agent})" in (workspace / "AGENTS.md").read_text()
    answer = await team.tool("hq", "ceo-genesis", "nats_request", agentId="eng-hal", task="@tool nats_org {}")
    assert "cto-athena" in answer["text"]
    answer = await team.tool("hq", "ceo-genesis", "nats_org")
    assert {one["gateway"] for one in answer["data"]["agents"] if one.get("gateway")} == {"hq", "lab"}
