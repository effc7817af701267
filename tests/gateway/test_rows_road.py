"""Rows that need a turn: K8, C2, C4, N4, N15, on one company of two real gateways."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from typing import Any

import pytest

from clawbus.demo.model.server import ScriptedModel
from clawbus.tasks.roster import PERIOD_S
from tests.company import Live, until
from tests.gateway.conftest import MAIN, turns_of

pytestmark = [pytest.mark.gateway, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
SHARES_A_COMPANY = True
AGENTS = {"hq": "ceo-genesis", "lab": "cto-athena"}


async def clawbus(duo: Live, *args: str) -> dict[str, Any]:
    """What a command prints with --json, run as a script would run it."""
    argv = [sys.executable, "-m", "clawbus", *args, "--org", str(duo.org_file), "--json"]
    done = await asyncio.to_thread(subprocess.run, argv, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    data: dict[str, Any] = json.loads(done.stdout)
    return data


async def reply(duo: Live, gateway: str, session: str, timeout_s: float = 60) -> str:
    """The agent's first reply in a session, as soon as it stands there."""

    async def look() -> str | None:
        said = [text for role, text in await duo.transcript(gateway, session) if role == "assistant" and text.strip()]
        return said[0] if said else None

    return await until(look, f"a reply in {session}", timeout_s)


async def test_k8_the_presence_of_each_agent_costs_no_turn(duo: Live, brain: ScriptedModel) -> None:
    """Each is heard again and again without being asked, for longer than a node that fell silent would count as there."""
    await reply(duo, "hq", MAIN)
    turns = len(brain.turns)
    heard: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
    async with duo.owner() as bus:
        stop = await bus.listen(
            duo.company.subjects.everything("presence"),
            lambda message: heard.put_nowait((message.subject, json.loads(message.data))),
        )
        for agent in AGENTS.values():
            count = 0
            while count < 4:  # over more than three periods
                subject, said = await asyncio.wait_for(heard.get(), 3 * PERIOD_S)
                count += subject == duo.company.subjects.presence(agent)
                assert said["ready"]
        await stop()
    assert len(brain.turns) == turns


async def test_n15_a_script_starts_a_task_and_no_model_stands_in_the_middle(duo: Live, brain: ScriptedModel) -> None:
    """`clawbus ask --json`: the only turn is the worker's, and the script reads its end as JSON."""
    await reply(duo, "hq", MAIN)
    before = len(brain.turns)
    end = await clawbus(duo, "ask", "cto-athena", "@reply forty-two", "--timeout", "60")
    assert (end["state"], end["result"], end["ended_by"]) == ("done", "forty-two", "cto-athena")
    assert turns_of(brain, end["task_id"]) == 1
    assert {turn["agent"] for turn in brain.turns[before:]} == {"cto-athena"}


@pytest.mark.parametrize(("gateway", "other"), [("hq", "cto-athena"), ("lab", "ceo-genesis")])
async def test_c2_the_models_of_every_gateway_have_the_tools(duo: Live, gateway: str, other: str) -> None:
    """A turn of each gateway sends, asks, reads and spawns with the tools that its model was given."""
    agent, session = AGENTS[gateway], f"agent:{AGENTS[gateway]}:c2"
    back = "lab" if gateway == "hq" else "hq"
    await duo.tool(back, other, "nats_pub", to=agent, message=f"a letter for {agent}")

    async def arrived() -> bool:
        listed = await duo.tool(gateway, agent, "nats_inbox")
        return f"a letter for {agent}" in listed["text"]

    await until(arrived, "the letter", 20)
    pub = {"to": other, "message": f"greetings from {agent}"}
    ask = {"agentId": other, "task": "@reply the answer is 42"}
    lines = [f"@tool nats_pub {json.dumps(pub)}", f"@tool nats_request {json.dumps(ask)}"]
    lines += ['@tool nats_inbox {"action": "read"}', f"@spawn {other} @reply spawned by {agent}"]
    await duo.say(gateway, agent, "\n".join(lines), session)
    said = await reply(duo, gateway, session, 120)
    assert re.search(rf"sent: message \S+ to {other}", said)
    assert "the answer is 42" in said
    assert f"a letter for {agent}" in said
    spawned = re.search(rf"accepted: task (\S+) for {other}", said)
    assert spawned
    assert (await duo.settled(spawned[1])).result == f"spawned by {agent}"


async def test_c4_the_ceo_goes_on_and_is_told_in_the_session_that_asked(duo: Live) -> None:
    """It delegates, answers its user while the work is done, and hears of the end there: once, and nowhere else."""
    session = "agent:ceo-genesis:c4"
    await duo.say("hq", "ceo-genesis", "@spawn cto-athena @sleep 6\\n@reply the roof is mended", session)
    task_id = (re.search(r"accepted: task (\S+) for cto-athena", await reply(duo, "hq", session)) or [""] * 2)[1]
    await duo.say("hq", "ceo-genesis", "@reply I am still here", session)

    async def still_here() -> bool:
        return ("assistant", "I am still here") in await duo.transcript("hq", session)

    await until(still_here, "the answer to the user", 20)
    assert not (await duo.view(task_id)).ended_by
    await duo.settled(task_id)
    (text,) = await duo.announces(task_id, session)
    assert "the roof is mended" in text
    assert await duo.announces(task_id, MAIN) == []

    async def acted() -> bool:
        told = [role for role, text in await duo.transcript("hq", session) if text.strip()]
        return told[-1] == "assistant"

    await until(acted, "the CEO's turn upon it", 30)


async def test_n4_each_receipt_has_its_time(duo: Live) -> None:
    """`clawbus task show` says when a task was accepted, delivered, started and done; before it starts, that it has not."""
    duo.kill("node-lab")
    task_id = await duo.spawn("@reply done and dusted")

    async def accepted() -> bool:
        return "accepted" in (await clawbus(duo, "task", "show", task_id[:8]))["times"]

    await until(accepted, "the first receipt", 20)
    before = await clawbus(duo, "task", "show", task_id)
    assert (before["state"], [*before["times"]]) == ("queued", ["accepted"])
    await duo.start("node-lab")
    await duo.settled(task_id)
    after = await clawbus(duo, "task", "show", task_id)
    times = [after["times"][kind] for kind in ("accepted", "delivered", "started", "ended")]
    assert after["state"] == "done"
    assert times == sorted({*times})
    assert times[0] == before["times"]["accepted"]
