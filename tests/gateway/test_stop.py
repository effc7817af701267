"""The kill switch on real gateways: running turns of the bus are aborted, nothing wakes, and a resume goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from clawbus.client.halt import WITHIN_S, obedience, order
from clawbus.client.person import Person
from clawbus.demo.model.server import ScriptedModel
from clawbus.gateway import Turns, list_active_runs
from clawbus.node.ledger import Ledger
from clawbus.node.mailbox.halted_sessions import NOTE_MARK
from clawbus.tasks.new_message import NewMessage, make_message
from clawbus.wire.channels import STATE
from clawbus.wire.envelope import now
from tests.company import Live, until
from tests.gateway.conftest import MAIN, turns_of
from tests.server.office import clawbus

pytestmark = [pytest.mark.gateway, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
AGENTS = ("ceo-genesis", "cto-athena")
FROM_OWNER = "agent:cto-athena:nats:from-owner"


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def resumed(duo: Live) -> AsyncIterator[None]:
    """What one test has stopped and not resumed must not fail the next."""
    yield
    await clawbus(duo, "resume", "--all")
    for agent in AGENTS:
        await clawbus(duo, "resume", agent)


async def events(duo: Live, task_id: str, kind: str) -> list[Any]:
    async with duo.owner() as bus:
        return [one for one in await duo.company.history(bus).events(task_id) if one.kind == kind]


async def at_work(duo: Live, task_id: str) -> None:
    """Wait until a task's turn has called a tool."""
    await until(lambda: events(duo, task_id, "progress"), f"{task_id} to call a tool", 60)


async def idle(duo: Live, gateway: str) -> None:
    """Wait until nothing of the bus runs on a gateway."""

    async def look() -> bool:
        async with duo.rpc(gateway) as rpc:
            return await list_active_runs(rpc, AGENTS) == []

    await until(look, f"{gateway} to be idle", 60)


async def say(duo: Live, text: str) -> None:
    """The owner says something to the CTO, which wakes it."""
    async with duo.owner() as bus:
        letter = make_message(duo.org, "owner", NewMessage("cto-athena", text, priority="high"))
        await Person(duo.company, bus, "owner").send(letter)


async def stop(duo: Live) -> None:
    code, said = await clawbus(duo, "stop", "--all", "--why", "a drill")
    assert (code, said["obeys"], said["not_yet"]) == (0, [*AGENTS], []), said


async def resume(duo: Live) -> None:
    code, said = await clawbus(duo, "resume", "--all")
    assert (code, said["obeys"]) == (0, [*AGENTS]), said


async def looked_again(duo: Live) -> None:
    """Wait until both nodes have taken in two more orders: so long they have had for what they would have begun."""
    async with duo.owner() as bus:
        for agent in AGENTS:
            for state in ("paused", "running"):
                await order(bus, duo.company, "owner", agent, state)
                assert not (await obedience(bus, duo.company, "owner", 10)).not_yet


async def test_n7_a_stop_aborts_running_turns_and_a_resume_finishes_the_task_once(
    duo: Live, brain: ScriptedModel
) -> None:
    """The turn is gone from the gateway within five seconds, mail wakes nobody, what is sent is refused; then it goes on."""
    task_id = await duo.spawn("@exec sleep 20\n@reply all done")
    await at_work(duo, task_id)
    async with duo.rpc("lab") as rpc:  # connected before: what is measured is the stop, not the test

        async def over() -> bool:
            return await list_active_runs(rpc, AGENTS) == []

        stopping = asyncio.create_task(stop(duo))
        await until(over, "the turn to end", 60)
        ended_at = now()
        await stopping
    async with duo.owner() as bus:
        stored = await bus.last_message(STATE, "acme.state.all.owner")
    (cut,) = await events(duo, task_id, "interrupted")
    assert stored is not None
    ended_s = (ended_at - stored.at).total_seconds()
    print(f"nothing of the bus runs {ended_s:.2f} s after the order was stored")
    assert ended_s < WITHIN_S
    print(f"cut {(cut.at - stored.at).total_seconds():.2f} s after the stop")
    assert (cut.at - stored.at).total_seconds() < WITHIN_S
    assert cut.detail["why"] == "the company is stopped by owner: a drill"
    assert (await duo.view(task_id)).state not in ("done", "failed", "dead")

    asked = len(brain.turns)
    waiting = await duo.tool("hq", "ceo-genesis", "nats_spawn", agentId="cto-athena", task="@reply no")
    assert not waiting["ok"]
    assert "the company is stopped by owner: a drill; nothing was sent" in waiting["text"]
    assert "clawbus resume --all" in waiting["text"]
    for tool, params in (("nats_pub", {"to": "cto-athena", "message": "no"}), ("nats_request", {"agentId": "cto-athena", "task": "no"})):  # fmt: skip
        assert "nothing was sent" in (await duo.tool("hq", "ceo-genesis", tool, **params))["text"]
    assert (await duo.tool("lab", "cto-athena", "nats_inbox"))["ok"]
    assert (await duo.tool("hq", "ceo-genesis", "nats_tasks", action="list"))["ok"]
    await say(duo, "@reply woken by mail")
    await looked_again(duo)
    assert brain.turns[asked:] == [], json.dumps(brain.turns[asked:])

    await resume(duo)
    view = await duo.settled(task_id, 120)
    assert (view.state, view.attempts, await duo.ends(task_id)) == ("done", 1, 1)
    assert "all done" in view.result
    assert len(await duo.announces(task_id)) == 1
    assert turns_of(brain, task_id) == 2
    session = await duo.transcript("lab", f"agent:cto-athena:nats:{task_id}")
    assert (
        "A person stopped the company while you were at this task"
        in [text for role, text in session if role == "user"][-1]
    )

    async def replied() -> bool:
        return any(
            role == "assistant" and "woken by mail" in text for role, text in await duo.transcript("lab", FROM_OWNER)
        )

    await until(replied, "the mail to wake its agent after the resume", 60)


async def test_n7_a_turn_for_mail_is_ended_and_its_session_told_to_go_on(duo: Live, brain: ScriptedModel) -> None:
    """Also a turn that was begun in a user's own session by a result; the user's own turn there is not touched."""
    await say(duo, "@exec sleep 25\n@reply it was long")

    async def running() -> bool:
        async with duo.rpc("lab") as rpc:
            return FROM_OWNER in [one.session_key for one in await list_active_runs(rpc, AGENTS)]

    await until(running, "the turn for mail", 60)
    users = asyncio.create_task(duo.say("hq", "ceo-genesis", "@exec sleep 8\n@reply the user's own"))
    await users
    await stop(duo)
    await idle(duo, "lab")

    async def own() -> bool:
        return any(role == "assistant" and "the user's own" in text for role, text in await duo.transcript("hq", MAIN))

    await until(own, "the user's own turn to go on to its end", 60)
    await resume(duo)

    async def told() -> bool:
        said = [text for role, text in await duo.transcript("lab", FROM_OWNER) if role == "user"]
        return sum(NOTE_MARK in text for text in said) == 1

    await until(told, "the session to be told to go on", 60)
    await idle(duo, "lab")
    assert await told()


async def test_n7_a_paused_agent_finishes_its_turn_and_takes_no_other(duo: Live) -> None:
    task_id = await duo.spawn("@exec sleep 6\n@reply finished all the same")
    await at_work(duo, task_id)
    assert (await clawbus(duo, "pause", "cto-athena"))[0] == 0
    waits = await duo.spawn("@reply later")
    view = await duo.settled(task_id)
    assert (view.state, view.attempts) == ("done", 1)
    await looked_again_at_ceo(duo)
    assert await events(duo, waits, "started") == []
    assert (await clawbus(duo, "resume", "cto-athena"))[0] == 0
    assert (await duo.settled(waits)).state == "done"


async def looked_again_at_ceo(duo: Live) -> None:
    async with duo.owner() as bus:
        for state in ("paused", "running"):
            await order(bus, duo.company, "owner", "ceo-genesis", state)
            assert not (await obedience(bus, duo.company, "owner", 10)).not_yet


async def test_n7_a_turn_whose_abort_was_lost_with_its_node_is_begun_anew(duo: Live, brain: ScriptedModel) -> None:
    """The node had ended it, and died before it had the answer: the next one sees that. No failure, and no strike."""
    task_id = await duo.spawn("@exec sleep 20\n@reply all done")
    await at_work(duo, task_id)
    duo.kill("node-lab")
    async with duo.rpc("lab") as rpc:
        assert await Turns(rpc).abort(f"agent:cto-athena:nats:{task_id}")
    code, said = await clawbus(duo, "stop", "--all")
    assert (code, said["away"]) == (0, ["cto-athena"]), said
    await duo.start("node-lab")

    async def cut() -> bool:
        with Ledger(duo.home.ledger("lab")) as ledger:
            run = ledger.runs.get(task_id)
            return run is not None and (run.state, run.attempt) == ("held", 0)

    await until(cut, "the task to be held again", 30)
    await resume(duo)
    view = await duo.settled(task_id, 120)
    assert (view.state, view.attempts, await duo.ends(task_id)) == ("done", 1, 1)
    assert turns_of(brain, task_id) == 2


async def test_n7_a_gateway_that_is_killed_while_it_is_stopped_does_not_go_on(duo: Live, brain: ScriptedModel) -> None:
    """OpenClaw goes on by itself with what a crash has cut off, as its log says; not while people have stopped it."""
    task_id = await duo.spawn("@exec sleep 15\n@reply after all that")
    await at_work(duo, task_id)
    duo.kill("gateway-lab")
    await stop(duo)
    asked = len(brain.turns)
    log = duo.home.log("gateway-lab")
    before = log.stat().st_size
    await duo.start("gateway-lab")
    await duo.online("cto-athena")

    async def recovered() -> bool:
        """It tries again what an abort has cut off."""
        return (
            "recovery startup complete" in log.read_bytes()[before:].decode(errors="replace").rpartition("failed=0")[0]
        )

    await until(recovered, "the gateway's own recovery to have come to an end", 90)
    await idle(duo, "lab")
    await looked_again(duo)
    assert (await duo.view(task_id)).state not in ("done", "failed", "dead")
    session = f"agent:cto-athena:nats:{task_id}"
    resumed = [turn for turn in brain.turns[asked:] if turn.get("session") == session]
    print(f"the gateway has asked the model {len(resumed)} times while it was stopped")
    assert len(resumed) <= 1  # what the gateway has resumed is ended as soon as it has begun
    await resume(duo)
    view = await duo.settled(task_id, 180)
    assert (view.state, await duo.ends(task_id), len(await duo.announces(task_id))) == ("done", 1, 1)
