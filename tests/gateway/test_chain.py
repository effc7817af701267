"""A chain on real gateways: the CEO's task goes to the CTO and on to Security, with no hand between."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from clawbus.demo.model.server import ScriptedModel
from clawbus.gateway.setup.installation import OpenClaw
from clawbus.node.prompts.frames import RESULT_MARK
from clawbus.tasks.learning import insights
from tests.company import Live, free_ports, live, until

pytestmark = [pytest.mark.gateway, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
MAIN = "agent:ceo:main"


def chain_toml(ports: list[int]) -> str:
    return f"""
company = "acme"
bus.port = {ports[0]}
policies.lease = "10s"
[[gateways]]
id = "hq"
port = {ports[1]}
[[gateways]]
id = "lab"
port = {ports[2]}
[[agents]]
id = "ceo"
role = "role-ceo"
gateway = "hq"
[[agents]]
id = "cto"
role = "role-cto"
reports_to = "ceo"
gateway = "lab"
[[agents]]
id = "security"
role = "role-security"
reports_to = "cto"
gateway = "lab"
[[edges]]
from = "cto"
to = "security"
template = "@reply Security has read what {{worker}} did for {{requester}}: {{result}}"
[[humans]]
id = "owner"
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chain(tmp_path_factory: pytest.TempPathFactory, claw: OpenClaw, brain: ScriptedModel) -> AsyncIterator[Live]:
    async with live(tmp_path_factory.mktemp("chain"), claw, brain.url, chain_toml(free_ports(3))) as company:
        company.launch("steward-1")
        await company.start("gateway-hq", "gateway-lab", "node-hq", "node-lab")
        await company.online("ceo", "cto", "security")
        yield company


async def results(chain: Live) -> list[str]:
    """What the CEO's session was woken with."""
    return [text for role, text in await chain.transcript("hq", MAIN) if role == "user" and RESULT_MARK in text]


async def test_g2_a_model_starts_a_chain_and_is_woken_with_each_result(chain: Live, brain: ScriptedModel) -> None:
    """The CEO's one call names who takes over; the CTO's turn and Security's follow, and both results come home."""
    call = {"agentId": "cto", "task": "@reply rate limits are in", "onComplete": "security", "label": "limits"}
    await chain.say("hq", "ceo", f"@tool nats_spawn {json.dumps(call)}")

    async def both() -> list[str] | None:
        found = await results(chain)
        return found if len(found) == 2 else None

    first, second = await until(both, "two results in the CEO's session", 120)
    assert "From: cto" in first
    assert "rate limits are in" in first
    assert "From: steward" in second
    assert "security took over after cto" in second
    assert "Security has read what cto did for ceo: rate limits are in" in second
    began = [turn["agent"] for turn in brain.turns if turn.get("task") and turn.get("first")]
    assert began == ["cto", "security"]


async def test_g2_an_edge_that_is_not_there_is_refused_before_anything_is_sent(chain: Live) -> None:
    """The model reads why, and what it can do instead."""
    answer = await chain.tool("hq", "ceo", "nats_spawn", agentId="security", task="@reply x", onComplete="cto")
    assert answer["ok"] is False
    assert "no edge from security to there; nothing was sent" in answer["text"]
    async with chain.owner() as bus:
        events = await chain.company.history(bus).events()
    assert not [event for event in events if event.detail.get("to") == "security" and event.sender == "ceo"]


async def below(chain: Live, text: str) -> str:
    """The CEO gives Security a task. Returns what its worker's turn was opened with."""
    given = await chain.tool("hq", "ceo", "nats_spawn", agentId="security", task=text)
    task_id = str(given["data"]["taskId"])
    await chain.settled(task_id)
    ((_, said), *_) = await chain.transcript("lab", f"agent:security:nats:{task_id}")
    return said


async def test_what_the_company_has_learned_stands_below_the_next_task(chain: Live) -> None:
    """The owner promotes what the CEO has found: from then on every worker's turn brings it, as data."""
    await chain.tool("hq", "ceo", "nats_pub", to="learning", type="insight", message="Pin the base image.")
    waiting = await below(chain, "@reply one")
    assert "Not confirmed yet." in waiting
    insight = re.findall(r"- ([a-z2-7]{26}): Pin the base image. \(found by ceo, 50 %\)", waiting)[0]
    argv = [sys.executable, "-m", "clawbus", "learning", "promote", insight, "--org", str(chain.org_file)]
    await asyncio.to_thread(subprocess.run, argv, check=True, capture_output=True)

    async def promoted() -> bool:
        async with chain.owner() as bus:
            return (await insights(bus, chain.org))[insight].state == "promoted"

    await until(promoted, "the promotion")
    assert "Confirmed, and in use:\n- Pin the base image. (found by ceo, 50 %)" in await below(chain, "@reply two")
