"""Steering, on real gateways: what is said to a task is heard by its turn, or it is said why it cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from clawbus.client.person import Person
from clawbus.demo.model.server import ScriptedModel
from clawbus.tasks import said_to
from tests.company import Live, until
from tests.gateway.conftest import turns_of

pytestmark = [pytest.mark.gateway, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


async def doing(duo: Live, task_id: str, word: str = "sleep") -> None:
    """Wait until a task's turn has called a tool."""

    async def look() -> bool:
        return any(event.kind == "progress" and word in str(event.detail) for event in await events(duo, task_id))

    await until(look, f"{task_id} calling a tool", 150)


async def events(duo: Live, task_id: str) -> list[Any]:
    async with duo.owner() as bus:
        return await duo.company.history(bus).events(task_id)


async def told(duo: Live, task_id: str) -> list[str]:
    """What became of what was said to a task."""
    return [str(event.detail["outcome"]) for event in await events(duo, task_id) if event.kind == "steered"]


async def steer(duo: Live, task_id: str, text: str) -> dict[str, Any]:
    return await duo.tool("hq", "ceo-genesis", "nats_tasks", action="steer", taskIds=[task_id], message=text)


async def test_n8_a_running_turn_hears_what_its_requester_says(duo: Live, brain: ScriptedModel) -> None:
    """The tool that runs is finished, the next one of the old plan is not begun: the model decides from what it reads."""
    task_id = await duo.spawn("@exec sleep 4\n@exec touch never-made\n@reply the old course")
    await doing(duo, task_id)
    answer = await steer(duo, task_id, "@exec echo turned\n@reply the new course")
    assert answer["ok"], answer
    assert "its turn hears it before its next step" in answer["text"]
    view = await duo.settled(task_id)
    assert (view.state, view.result) == ("done", "turned\nthe new course")
    assert await told(duo, task_id) == ["heard"]
    assert turns_of(brain, task_id) == 1
    session = await duo.transcript("lab", f"agent:cto-athena:nats:{task_id}")
    (said,) = [text for role, text in session if role == "user" and "[clawbus steer]" in text]
    assert "From: ceo-genesis, verified by signature" in said


async def test_n8_two_things_that_are_said_are_heard_in_their_order(duo: Live) -> None:
    task_id = await duo.spawn("@exec sleep 4\n@reply old")
    await doing(duo, task_id)
    await steer(duo, task_id, "first")
    await steer(duo, task_id, "@reply second")
    view = await duo.settled(task_id)
    assert await told(duo, task_id) == ["heard", "heard"]
    assert view.result.endswith("second")
    texts = [text for role, text in await duo.transcript("lab", f"agent:cto-athena:nats:{task_id}") if role == "user"]
    assert [("first" in text, "second" in text) for text in texts[1:]] == [(True, False), (False, True)]


async def test_n8_a_person_steers_a_task(duo: Live) -> None:
    """`clawbus task steer` speaks as a person of the company, who may steer any task."""
    task_id = await duo.spawn("@exec sleep 5\n@reply the old course")
    await doing(duo, task_id)
    async with duo.owner() as bus:
        person = Person(duo.company, bus, "owner")
        assert await person.steer(await duo.view(task_id), "@reply as the owner says") is None
    assert (await duo.settled(task_id)).result.endswith("as the owner says")
    assert await told(duo, task_id) == ["heard"]
    async with duo.owner() as bus:
        why = await Person(duo.company, bus, "owner").steer(await duo.view(task_id), "more")
    assert why == "it had ended before: done"


async def test_n8_a_waiting_task_is_told_when_it_starts(duo: Live) -> None:
    """Its gateway is away: what is said is kept, and stands in the message that opens its turn."""
    duo.kill("gateway-lab")

    async def away() -> bool:
        return bool((await duo.tool("hq", "ceo-genesis", "nats_org", online=False))["data"]["agents"])

    await until(away, "cto-athena offline")
    task_id = await duo.spawn("@reply old")
    answer = await steer(duo, task_id, "@reply told before the start")
    assert "it is told when its turn starts" in answer["text"]
    await duo.start("gateway-lab")
    view = await duo.settled(task_id)
    assert (view.state, view.result) == ("done", "told before the start")
    assert await told(duo, task_id) == ["kept", "heard"]


async def test_n8_a_task_that_has_ended_says_so(duo: Live) -> None:
    task_id = await duo.spawn("@reply done already")
    await duo.settled(task_id)
    answer = await steer(duo, task_id, "too late")
    assert not answer["ok"]
    assert "it had ended before: done" in answer["text"]


async def test_n8_what_comes_as_the_turn_ends_starts_no_turn_of_its_own(duo: Live, brain: ScriptedModel) -> None:
    """The gateway makes a turn of what it can no longer give: that turn is stopped, and the event says `late`."""
    task_id = await duo.spawn("@exec sleep 30\n@reply never", runTimeoutSeconds=4)
    await doing(duo, task_id)
    await steer(duo, task_id, "@exec touch made-by-a-late-turn\n@reply late")
    view = await duo.settled(task_id)
    assert (view.state, view.result) == ("timed_out", "the turn took longer than it was given")
    assert await told(duo, task_id) == ["late"]

    async def idle() -> bool:
        async with duo.rpc("lab") as rpc:
            described = await rpc.call("sessions.describe", {"key": f"agent:cto-athena:nats:{task_id}"})
        return (described.get("session") or {}).get("status") != "running"

    await until(idle, "the session at rest")
    assert not list(duo.home.root.rglob("made-by-a-late-turn"))


@pytest.mark.parametrize("victim", ["node-lab", "gateway-lab"])
async def test_n8_a_kill_loses_nothing_that_was_said(duo: Live, victim: str) -> None:
    """Killed while it waits for the running tool: the next life of the node, or the next attempt, still tells it."""
    task_id = await duo.spawn("@exec sleep 12\n@reply the old course")
    await doing(duo, task_id)
    await steer(duo, task_id, "@reply the new course")

    async def taken() -> bool:
        return await untaken(duo) == 0

    await until(taken, "the node to take it")
    duo.kill(victim)
    await duo.start(victim)
    view = await duo.settled(task_id, 240)
    assert view.state == "done"
    assert view.result.endswith("the new course")
    assert (await told(duo, task_id))[-1] == "heard"
    await duo.online("ceo-genesis", "cto-athena")


@pytest.mark.timeout(600)
async def test_what_waits_behind_a_resumed_run_keeps_its_reply(duo: Live, brain: ScriptedModel) -> None:
    """A gateway that is quicker than the node resumes the cut-off turn first: that run is stopped, and the next attempt,
    which the gateway runs under an id of its own, is neither stopped with it nor without its reply.

    An abort waits until the run has asked its model (ADR 26). So a model that answers in an instant may still say its
    word there; it is not the result, and nothing follows upon it.
    """
    task_id = await duo.spawn("@exec sleep 20\n@reply the old course")
    await doing(duo, task_id)
    await steer(duo, task_id, "@reply the new course")
    duo.kill("node-lab")
    duo.kill("gateway-lab")
    log, session = duo.home.log("gateway-lab"), f"agent:cto-athena:nats:{task_id}"
    await duo.start("gateway-lab")

    async def resumed() -> bool:
        return f"started interrupted main session: {session}" in log.read_text()

    await until(resumed, "the gateway to resume the turn", 60)
    await duo.start("node-lab")
    view = await duo.settled(task_id, 120)
    assert view.state == "done"  # in two attempts, or in three where the gateway trips over its own abort
    assert view.result.endswith("the new course")
    assert "the old course" not in view.result
    said = [text for role, text in await duo.transcript("lab", session) if role == "assistant" and text]
    assert said[-1].endswith("the new course")
    assert sum("the old course" in text for text in said) <= 1  # of the resumed run
    await duo.online("ceo-genesis", "cto-athena")


async def untaken(duo: Live) -> int:
    """Control messages that no node has taken yet."""
    async with duo.owner() as bus:
        return int((await bus.api("STREAM.INFO.CTL"))["state"]["messages"])


async def test_n8_only_the_requester_and_people_are_heard(duo: Live) -> None:
    """Another agent's steer does not reach the turn, and the event says so."""
    task_id = await duo.spawn("@exec sleep 4\n@reply undisturbed")
    await doing(duo, task_id)
    async with duo.company.connect("gw-lab", "another") as bus:
        note = said_to(task_id, "cto-athena", "cto-athena", "@reply disturbed")
        await bus.publish(duo.company.subjects.ctl("cto-athena", "cto-athena"), note.encode(), msg_id=note.id)
    view = await duo.settled(task_id)
    assert (view.result.endswith("undisturbed"), await told(duo, task_id)) == (True, ["refused"])
