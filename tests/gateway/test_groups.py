"""Several tasks given at once, on real gateways: their requester is woken once, when all have ended, with each outcome."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from clawbus.demo.model.server import ScriptedModel
from clawbus.gateway.setup.installation import OpenClaw
from clawbus.node.prompts.frames import GROUP_MARK
from tests.company import Live, free_ports, live, until
from tests.server.test_channels import trio_toml

pytestmark = [pytest.mark.gateway, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(500)]
MAIN = "agent:ceo:main"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trio(tmp_path_factory: pytest.TempPathFactory, claw: OpenClaw, brain: ScriptedModel) -> AsyncIterator[Live]:
    async with live(tmp_path_factory.mktemp("groups"), claw, brain.url, trio_toml(free_ports(3))) as company:
        await company.start("gateway-hq", "gateway-lab", "node-hq", "node-lab")
        await company.online("ceo", "cto", "qa")
        await company.say("hq", "ceo", "@reply hello")  # a session must exist to be woken
        yield company


async def give(trio: Live, *tasks: tuple[str, str, str]) -> list[str]:
    """The CEO spawns a group: (agent, task, label) each. Returns the ids of what was accepted."""
    said = [{"agentId": agent, "task": task, "label": label} for agent, task, label in tasks]
    answer = await trio.tool("hq", "ceo", "nats_spawn", tasks=said)
    assert answer["ok"], answer
    ids: list[str] = answer["data"]["taskIds"]
    return ids


async def told(trio: Live, *ids: str) -> list[str]:
    """The messages of the CEO's session that name one of these tasks."""
    texts = [text for role, text in await trio.transcript("hq", MAIN) if role == "user"]
    return [text for text in texts if any(f"[clawbus result] {one}" in text for one in ids)]


async def test_n14_several_at_once_wake_their_requester_once(trio: Live) -> None:
    """Two agents and a pool; one fails, one is cancelled: one message, with each outcome, when the last has ended."""
    ids = await give(
        trio,
        ("cto", "@reply the plan stands", "plan"),
        ("qa", "@sleep 3\n@reply all tests pass", "tests"),
        ("testers", "@fail", "broken"),
        ("qa", "@hang", "endless"),
    )
    await trio.tool("hq", "ceo", "nats_tasks", action="cancel", taskIds=[ids[3]])
    for one in ids[:3]:
        await trio.settled(one, 240)  # OpenClaw asks a model that fails up to eight times
    (text,) = await told(trio, *ids)
    assert GROUP_MARK in text
    for outcome in ("done", "failed", "cancelled"):
        assert f"Outcome: {outcome}," in text
    for word in ("the plan stands", "all tests pass", "(plan)", "(tests)", "(broken)", "(endless)"):
        assert word in text


async def test_n14_the_last_one_cancelled_ends_the_group(trio: Live) -> None:
    """What was waited for is taken back: the others are announced at once."""
    ids = await give(trio, ("cto", "@reply quick", "a"), ("qa", "@hang", "b"))

    async def first_done() -> bool:
        return bool((await trio.view(ids[0])).ended_by)

    await until(first_done, "the first result")
    assert await told(trio, *ids) == []
    await trio.tool("hq", "ceo", "nats_tasks", action="cancel", taskIds=[ids[1]])
    assert (await trio.settled(ids[0])).delivery == "announced"
    assert len(await told(trio, *ids)) == 1


@pytest.mark.parametrize("victims", [("node-hq",), ("gateway-hq", "node-hq")])
async def test_n14_a_kill_of_the_requester_loses_and_repeats_nothing(trio: Live, victims: tuple[str, ...]) -> None:
    """One result is here, the other under way: node and gateway die; afterwards, one message with both."""
    word = f"after {len(victims)}"
    ids = await give(trio, ("cto", f"@reply first {word}", "a"), ("qa", f"@sleep 5\n@reply second {word}", "b"))

    async def first_done() -> bool:
        return bool((await trio.view(ids[0])).ended_by)

    await until(first_done, "the first result")
    for victim in victims:
        trio.kill(victim)
    await trio.start(*reversed(victims))
    for one in ids:
        await trio.settled(one, 240)  # OpenClaw asks a model that fails up to eight times
    (text,) = await told(trio, *ids)
    assert f"first {word}" in text
    assert f"second {word}" in text


@pytest.mark.parametrize("step", ["trying", "accepted", "announced"])
async def test_n14_a_kill_in_the_announce_tells_the_group_once(trio: Live, step: str) -> None:
    """As for a single result: before the call, after it, after it is known to stand in the session."""
    trio.kill("node-hq")
    trio.launch_dying("node-hq", step)
    await trio.ready("node-hq")
    ids = await give(trio, ("cto", f"@reply one {step}", "a"), ("qa", f"@reply two {step}", "b"))
    await trio.died("node-hq")
    await trio.start("node-hq")
    for one in ids:
        await trio.settled(one, 240)  # OpenClaw asks a model that fails up to eight times
    assert len(await told(trio, *ids)) == 1


async def test_n14_one_mistake_and_nothing_is_given(trio: Live) -> None:
    """All is checked before the first is sent."""
    before = await tasks(trio)
    said = [{"agentId": "cto", "task": "x"}, {"agentId": "nobody", "task": "x"}]
    answer = await trio.tool("hq", "ceo", "nats_spawn", tasks=said)
    assert not answer["ok"]
    assert "no such agent, team or pool" in answer["text"]
    assert await tasks(trio) == before


async def test_n14_what_the_quota_refuses_is_said_and_the_rest_goes_on(trio: Live) -> None:
    """Two may wait for one agent here; the third is refused by name, and the group is what was accepted."""
    trio.kill("node-lab")
    said = [{"agentId": "cto", "task": f"@reply number {n}", "label": f"q{n}"} for n in range(3)]
    answer = await trio.tool("hq", "ceo", "nats_spawn", tasks=said)
    assert "not given to cto: backlog full, 2 waiting" in answer["text"]
    assert (len(answer["data"]["taskIds"]), answer["data"]["refused"]) == (2, 1)
    await trio.start("node-lab")
    for one in answer["data"]["taskIds"]:
        await trio.settled(one, 240)  # OpenClaw asks a model that fails up to eight times
    (text,) = await told(trio, *answer["data"]["taskIds"])
    assert "All 2 tasks" in text


async def tasks(trio: Live) -> list[Any]:
    answer = await trio.tool("hq", "ceo", "nats_tasks", action="list")
    found: list[Any] = answer["data"]["tasks"]
    return found
