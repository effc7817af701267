"""The road, on real gateways: a task goes from one to the other and its result comes back into the session that asked."""

from __future__ import annotations

import asyncio

import pytest

from clawbus.demo.model.server import ScriptedModel
from clawbus.node.prompts.frames import RESULT_MARK
from tests.company import Live, until
from tests.gateway.conftest import MAIN, turns_of

pytestmark = [pytest.mark.gateway, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
SHARES_A_COMPANY = True


async def test_the_result_wakes_the_session_that_asked_once(duo: Live, brain: ScriptedModel) -> None:
    """A model calls nats_spawn through gateway, shim and node; the worker's turn runs; the requester is woken with it."""

    async def results() -> list[str]:
        return [text for role, text in await duo.transcript("hq", MAIN) if role == "user" and RESULT_MARK in text]

    before = len(await results())
    await duo.say("hq", "ceo-genesis", "@spawn cto-athena @reply the answer is 42")

    async def woken() -> str | None:
        return next(iter((await results())[before:]), None)

    text = await until(woken, "the announce", 60)
    assert "the answer is 42" in text
    assert "From: cto-athena, verified by signature" in text
    task_id = text.split()[2]
    assert (await duo.settled(task_id)).state == "done"
    assert len(await duo.announces(task_id)) == 1
    assert turns_of(brain, task_id) == 1


async def test_a_whole_reply_of_60000_characters_arrives(duo: Live) -> None:
    """agent.wait cuts at 4,096 characters; nothing is cut here."""
    answer = await duo.tool("hq", "ceo-genesis", "nats_request", agentId="cto-athena", task="@big 60000\n@reply end")
    view = await duo.view(answer["data"]["taskId"])
    assert (len(view.result), view.result[-4:]) == (60_004, "\nend")
    assert view.result in answer["text"]


async def test_a_long_reply_is_as_the_model_wrote_it(duo: Live) -> None:
    """chat.history masks what looks like a secret, code included; the result is not taken from there."""
    code = "const apiKey = util.isArray(z);"
    answer = await duo.tool("hq", "ceo-genesis", "nats_request", agentId="cto-athena", task=f"@reply {code}\n@big 5000")
    assert (await duo.view(answer["data"]["taskId"])).result.startswith(code)


async def test_g3_a_request_past_its_deadline_is_pending_and_its_answer_comes_later(duo: Live) -> None:
    """Pending is no error; the late answer is announced into the session."""
    answer = await duo.tool(
        "hq", "ceo-genesis", "nats_request", agentId="cto-athena", task="@sleep 3\n@reply late", timeoutSeconds=1
    )
    assert answer["ok"]
    assert answer["text"].startswith("pending: task ")
    view = await duo.settled(answer["data"]["taskId"])
    assert (view.state, view.delivery) == ("done", "announced")
    (text,) = await duo.announces(view.task_id)
    assert "late" in text


async def test_a_timeout_in_the_middle_of_a_tool_is_a_timeout(duo: Live) -> None:
    """agent.wait says ok with an empty reply there; the task's end says timed_out."""
    task_id = await duo.spawn("@exec sleep 30\n@reply never", runTimeoutSeconds=3)
    assert (await duo.settled(task_id)).state == "timed_out"


async def test_a_turn_that_fails_is_a_failed_task(duo: Live) -> None:
    """A model that answers with an error ends the task as failed, with the gateway's reason."""
    view = await duo.settled(await duo.spawn("@fail"), 240)
    assert view.state == "failed"


async def test_a_busy_session_queues_the_result(duo: Live) -> None:
    """The announce waits behind the running turn, and is not lost."""
    await duo.say("hq", "ceo-genesis", "@sleep 6\n@reply was busy", MAIN)
    task_id = await duo.spawn("@reply quick")
    await duo.settled(task_id)
    texts = [text for _, text in await duo.transcript("hq", MAIN)]
    busy = next(i for i, text in enumerate(texts) if text == "was busy")
    assert any(task_id in text for text in texts[busy:])
    assert len(await duo.announces(task_id)) == 1


async def test_the_workers_gateway_is_off_and_the_task_waits_for_it(duo: Live, brain: ScriptedModel) -> None:
    """Nothing takes work for a gateway that is away; when it is back, the task runs."""
    duo.kill("gateway-lab")
    await until(lambda: _offline(duo), "cto-athena offline")
    task_id = await duo.spawn("@reply I was away")
    assert (await duo.view(task_id)).state == "queued"
    await duo.start("gateway-lab")
    assert (await duo.settled(task_id)).result == "I was away"
    assert turns_of(brain, task_id) == 1


async def _offline(duo: Live) -> bool:
    answer = await duo.tool("hq", "ceo-genesis", "nats_org", online=False)
    return bool(answer["data"]["agents"])


async def test_the_requesters_gateway_is_off_and_the_result_waits_for_it(duo: Live) -> None:
    """The result stays on the bus, and is announced once when the session can hear it."""
    task_id = await duo.spawn("@sleep 2\n@reply for you")
    duo.kill("gateway-hq")

    async def done() -> bool:
        return (await duo.view(task_id)).state == "done"

    await until(done, "the end of the task")
    assert (await duo.view(task_id)).delivery == "waiting"
    await duo.start("gateway-hq")
    assert (await duo.settled(task_id)).delivery == "announced"
    assert len(await duo.announces(task_id)) == 1


async def test_cancel_of_a_queued_task_and_it_never_runs(duo: Live, brain: ScriptedModel) -> None:
    """One end, written by the requester; the worker reads it before it would start."""
    duo.kill("gateway-lab")
    await until(lambda: _offline(duo), "cto-athena offline")
    task_id = await duo.spawn("@reply too late")
    answer = await duo.tool("hq", "ceo-genesis", "nats_tasks", action="cancel", taskIds=[task_id])
    assert "cancelled" in answer["text"]
    await duo.start("gateway-lab")
    after = await duo.spawn("@reply next")
    await duo.settled(after)
    assert (await duo.view(task_id)).state == "cancelled"
    assert (turns_of(brain, task_id), await duo.ends(task_id)) == (0, 1)


async def test_cancel_of_a_running_task_stops_its_turn(duo: Live) -> None:
    """The turn in the worker's gateway really stops, and both sides say the same end."""
    task_id = await duo.spawn("@hang")
    session = f"agent:cto-athena:nats:{task_id}"

    async def status() -> str:
        async with duo.rpc("lab") as rpc:
            described = await rpc.call("sessions.describe", {"key": session})
        return str((described.get("session") or {}).get("status"))

    async def running() -> bool:
        return await status() == "running"

    async def stopped() -> bool:
        return await status() == "killed"

    await until(running, "the turn")
    await duo.tool("hq", "ceo-genesis", "nats_tasks", action="cancel", taskIds=[task_id])
    await until(stopped, "the stop of the turn", 10)
    answer = await duo.tool("hq", "ceo-genesis", "nats_tasks", action="status", taskIds=[task_id])
    assert answer["data"]["tasks"][0]["state"] == "cancelled"
    assert (await duo.view(task_id)).state == "cancelled"
    assert await duo.ends(task_id) == 1


async def test_cancel_of_a_finished_task_changes_nothing(duo: Live) -> None:
    """The first end counts."""
    task_id = await duo.spawn("@reply done already")
    await duo.settled(task_id)
    answer = await duo.tool("hq", "ceo-genesis", "nats_tasks", action="cancel", taskIds=[task_id])
    assert "it had ended before: done" in answer["text"]
    assert ((await duo.view(task_id)).state, await duo.ends(task_id)) == ("done", 1)


async def test_a_direct_message_is_read_answered_and_gone(duo: Live) -> None:
    """nats_pub to the CTO; he reads it, answers, and it leaves the inbox; the CEO reads the answer."""
    await duo.tool("hq", "ceo-genesis", "nats_pub", to="cto-athena", message="stand-up at nine", subject="stand-up")

    async def letter() -> str | None:
        read = await duo.tool("lab", "cto-athena", "nats_inbox")
        return read["data"]["messages"][-1]["messageId"] if "stand-up at nine" in read["text"] else None

    number = await until(letter, "the message")
    await duo.tool("lab", "cto-athena", "nats_inbox", action="answer", messageId=number, message="I will be there")
    assert "stand-up at nine" not in (await duo.tool("lab", "cto-athena", "nats_inbox"))["text"]

    async def answered() -> bool:
        return "I will be there" in (await duo.tool("hq", "ceo-genesis", "nats_inbox"))["text"]

    await until(answered, "the answer")


async def test_eight_tasks_at_once_all_come_back(duo: Live, brain: ScriptedModel) -> None:
    """More tasks than slots: they queue, each runs once, each is announced once."""
    ids = await asyncio.gather(*(duo.spawn(f"@reply number {n}") for n in range(8)))
    for task_id in ids:
        assert (await duo.settled(task_id)).state == "done"
        assert (turns_of(brain, task_id), len(await duo.announces(task_id))) == (1, 1)
