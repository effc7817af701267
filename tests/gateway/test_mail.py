"""Mail becomes turns, on real gateways: what wakes, in which session, in which order, and once whatever is killed."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from clawbus.client.person import Person
from clawbus.demo.model.server import ScriptedModel
from clawbus.errors import GatewayAway
from clawbus.gateway.setup.installation import OpenClaw
from clawbus.tasks.new_message import NewMessage, make_message
from tests.company import Live, free_ports, live, until
from tests.server.test_channels import events, trio_toml, until_event

pytestmark = [pytest.mark.gateway, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
FROM_CEO = "agent:cto:nats:from-ceo"
DIGEST = "agent:cto:nats:digest"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mail(tmp_path_factory: pytest.TempPathFactory, claw: OpenClaw, brain: ScriptedModel) -> AsyncIterator[Live]:
    """The CEO in one gateway; the CTO and the QA, whom both wake, in another."""
    toml = trio_toml(free_ports(3)).replace(
        "quota = 2", "quota = 20"
    )  # it bounds the turns that one's mail may ask for
    async with live(tmp_path_factory.mktemp("mail"), claw, brain.url, toml) as company:
        await company.start("gateway-hq", "gateway-lab", "node-hq", "node-lab")
        await company.online("ceo", "cto", "qa")
        yield company


async def pub(mail: Live, text: str, to: str = "cto", **more: Any) -> dict[str, Any]:
    """The CEO says something."""
    answer = await mail.tool("hq", "ceo", "nats_pub", to=to, message=text, **more)
    assert answer["ok"], answer
    said: dict[str, Any] = answer["data"]
    return said


async def say(mail: Live, to: str, text: str, subject: str) -> None:
    """A person says something, from a terminal."""
    async with mail.owner() as bus:
        letter = make_message(mail.org, "owner", NewMessage(to, text, subject=subject, priority="high"))
        await Person(mail.company, bus, "owner").send(letter)


async def shown(mail: Live, session: str, word: str) -> list[str]:
    """The messages of a session that hold a word, as the model was given them."""
    return [text for role, text in await said_in(mail, session) if role == "user" and word in text]


async def said_in(mail: Live, session: str) -> list[tuple[str, str]]:
    """(role, text) of a session; nothing while a gateway that was started again does not answer yet."""
    with contextlib.suppress(GatewayAway):
        return await mail.transcript("hq" if session.startswith("agent:ceo:") else "lab", session)
    return []


async def until_shown(mail: Live, session: str, word: str) -> str:
    async def look() -> str | None:
        return next(iter(await shown(mail, session, word)), None)

    return await until(look, f"{word!r} in {session}", 60)


async def until_replied(mail: Live, session: str, word: str) -> None:
    """Wait until a turn of a session has ended with a word in its reply."""

    async def look() -> bool:
        return any(role == "assistant" and word in text for role, text in await said_in(mail, session))

    await until(look, f"the reply {word!r} in {session}", 60)


def turns_in(brain: ScriptedModel, session: str) -> int:
    return sum(1 for turn in brain.turns if turn.get("session") == session and turn.get("first"))


async def test_a6_a_message_becomes_a_turn_of_its_agent(mail: Live, brain: ScriptedModel) -> None:
    """In a session of its sender; shown from outside the body; the turn's reply goes nowhere; then it is done."""
    await pub(mail, "@reply I have seen it", priority="high", subject="a6 first")
    await until_replied(mail, FROM_CEO, "I have seen it")
    text = await until_shown(mail, FROM_CEO, "a6 first")
    assert "From: ceo, verified by signature" in text
    assert "goes to nobody" in text
    assert turns_in(brain, FROM_CEO) == 1
    read = await mail.tool("lab", "cto", "nats_inbox")
    assert read["text"] == "Your inbox is empty."
    number = text.split("[clawbus message] ")[1].split()[0]
    answer = await mail.tool("lab", "cto", "nats_inbox", action="answer", messageId=number, message="thank you")
    assert answer["ok"], answer


async def test_a6_what_is_urgent_comes_first_and_the_rest_in_one_digest(mail: Live, brain: ScriptedModel) -> None:
    """Five messages wait for a gateway that is away: three turns by priority, then one for the other two."""
    mail.kill("gateway-lab")
    await until(lambda: _offline(mail, "cto"), "cto offline")
    for name, more in (
        ("one", {"priority": "low"}),
        ("two", {"priority": "high"}),
        ("three", {}),
        ("four", {"priority": "critical"}),
        ("five", {"priority": "high"}),
        ("six", {"type": "report", "priority": "critical"}),
    ):
        await pub(mail, f"number {name}", subject=f"a6 {name}", **more)
    before = len(brain.turns)
    await mail.start("gateway-lab")
    digest = await until_shown(mail, DIGEST, "a6 three")
    order = [name for name in await _order(mail) if name in ("two", "four", "five")]
    assert order == ["four", "two", "five"]
    assert [name for name in ("one", "three", "six") if f"Subject: a6 {name}" in digest] == ["one", "three", "six"]
    await until_replied(mail, DIGEST, "I have read")
    assert len([turn for turn in brain.turns[before:] if turn.get("first") and turn.get("agent") == "cto"]) == 4


async def _offline(mail: Live, agent: str) -> bool:
    answer = await mail.tool("hq", "ceo", "nats_org", online=False)
    return agent in [one["id"] for one in answer["data"]["agents"]]


async def _order(mail: Live) -> list[str]:
    texts = [text for role, text in await mail.transcript("lab", FROM_CEO) if role == "user" and "Subject: a6 " in text]
    return [text.split("Subject: a6 ")[1].split()[0] for text in texts]


async def test_a6_a_report_wakes_nobody_and_is_read_with_what_does(mail: Live, brain: ScriptedModel) -> None:
    """Until something else does: then it is listed there, and waits in nats_inbox."""
    before = turns_in(brain, FROM_CEO)
    await pub(mail, "all green", type="report", priority="critical", subject="weekly")
    await pub(mail, "@reply woken", priority="high", subject="the next")
    text = await until_shown(mail, FROM_CEO, "the next")
    assert "report from ceo: 'weekly'" in text
    assert "all green" not in text
    assert turns_in(brain, FROM_CEO) == before + 1
    assert "all green" in (await mail.tool("lab", "cto", "nats_inbox"))["text"]


async def test_a2_a_topic_wakes_whom_the_org_file_says_and_nobody_else(mail: Live, brain: ScriptedModel) -> None:
    """The CTO's subscription says wake, the QA's does not: it finds the same message in its inbox."""
    await pub(mail, "@reply rolled out", to="topic:status.deploy", priority="low", subject="deployed")
    await until_replied(mail, FROM_CEO, "rolled out")
    assert "To: topic status.deploy" in await until_shown(mail, FROM_CEO, "deployed")
    read = await mail.tool("lab", "qa", "nats_inbox")
    assert [one["subject"] for one in read["data"]["messages"]] == ["deployed"]
    assert turns_in(brain, "agent:qa:nats:from-ceo") == 0


async def test_k2_each_agent_is_woken_by_everyone_its_team_and_itself(mail: Live) -> None:
    """Three channels, two agents of one gateway; each message is a turn of each agent that it concerns, with a receipt."""
    everyone = await pub(mail, "@reply aye", to="all", priority="high", subject="k2 all")
    await pub(mail, "@reply aye", to="team:quality", priority="high", subject="k2 quality")
    await pub(mail, "@reply aye", to="qa", priority="high", subject="k2 qa")
    for session, subjects in (
        (FROM_CEO, {"k2 all"}),
        ("agent:qa:nats:from-ceo", {"k2 all", "k2 quality", "k2 qa"}),
    ):
        for subject in subjects:
            await until_shown(mail, session, subject)
    assert await shown(mail, FROM_CEO, "k2 quality") == []
    for agent in ("cto", "qa"):
        await until_event(mail, everyone["taskId"], "seen", agent)
    assert "To: everyone" in await until_shown(mail, FROM_CEO, "k2 all")


async def test_a_message_that_mail_has_caused_says_how_often_it_was_passed_on(mail: Live) -> None:
    """The CTO is woken and answers with high priority: the CEO is woken by a message with one hop."""
    order = '@tool nats_pub {"to": "ceo", "message": "@reply stop", "priority": "high", "subject": "hop"}'
    await pub(mail, order, priority="high", subject="go on")
    await until_replied(mail, "agent:ceo:nats:from-cto", "stop")
    assert _hops(mail, "hop") == [1]


def _hops(mail: Live, subject: str) -> list[int]:
    """Of the messages that the CEO's node keeps with that subject."""
    with sqlite3.connect(f"file:{mail.home.ledger('hq')}?mode=ro", uri=True) as db:
        found = [json.loads(row[0]) for row in db.execute("SELECT envelope FROM mail WHERE agent = 'ceo'")]
    return [one["hops"] for one in found if one.get("subject") == subject]


async def test_the_answer_to_a_blocker_comes_into_the_session_that_raised_it(mail: Live) -> None:
    """The CTO raises one in a task; the CEO is woken by it, answers, and the task's session hears the answer."""
    task = '@tool nats_pub {"to": "all", "type": "blocker", "message": "may I?", "subject": "a decision"}\n@reply asked'
    answer = await mail.tool("hq", "ceo", "nats_spawn", agentId="cto", task=task)
    task_id = answer["data"]["taskId"]
    text = await until_shown(mail, "agent:ceo:nats:from-cto", "Subject: a decision")
    assert "Type: blocker" in text
    assert f"Task: {task_id}" in text
    number = text.split("[clawbus message] ")[1].split()[0]
    thread = text.split("Thread: ")[1].split()[0]
    await mail.tool("hq", "ceo", "nats_inbox", action="answer", messageId=number, message="@reply then I go on")
    await until_replied(mail, f"agent:cto:nats:{task_id}", "then I go on")
    assert {(one.kind, one.sender) for one in await events(mail, thread)} >= {
        ("raised", "cto"),
        ("seen", "ceo"),
        ("resolved", "ceo"),
    }


@pytest.mark.parametrize("step", ["mail-trying", "mail-accepted", "mail-shown"])
async def test_a_kill_of_the_node_at_each_step_shows_a_message_once(mail: Live, step: str) -> None:
    """Before the call, after it, after it is known to stand in the session: once in the transcript, and done."""
    mail.kill("node-lab")
    mail.launch_dying("node-lab", step)
    word = f"step {step}"
    said = await pub(mail, "@reply noted", to="team:quality", priority="high", subject=word)
    await mail.died("node-lab")
    await mail.start("node-lab")
    await until_event(mail, said["taskId"], "seen", "qa")
    assert len(await shown(mail, "agent:qa:nats:from-ceo", word)) == 1
    assert word not in (await mail.tool("lab", "qa", "nats_inbox"))["text"]


async def test_a_kill_of_the_gateway_shows_a_message_once(mail: Live) -> None:
    """It stands in the transcript when the gateway dies in its turn, and is not shown again."""
    await pub(mail, "@sleep 4\n@reply survived", to="qa", priority="high", subject="kill")
    await until_shown(mail, "agent:qa:nats:from-ceo", "Subject: kill")
    mail.kill("gateway-lab")
    await mail.start("gateway-lab")
    await say(mail, "qa", "@reply alive", "afterwards")  # into another session: there the gateway merges nothing
    await until_shown(mail, "agent:qa:nats:from-owner", "Subject: afterwards")

    async def there() -> list[str]:
        return await shown(mail, "agent:qa:nats:from-ceo", "Subject: kill")

    assert len(await until(there, "the message", 60)) == 1


async def test_a_person_wakes_an_agent(mail: Live) -> None:
    """A message from the terminal is a turn in a session of that person."""
    await say(mail, "cto", "@reply yes, owner", "from a person")
    await until_replied(mail, "agent:cto:nats:from-owner", "yes, owner")
