"""The company's own channels, on a real nats-server: who hears what, and what is refused before anything is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from clawbus.bus import Stored
from clawbus.client.person import Person
from clawbus.errors import InvalidInput, NotFound
from clawbus.tasks.new_message import NewMessage, make_message
from clawbus.wire.channels import BCAST, EVENTS, INBOX, LEARN
from clawbus.wire.envelope import Envelope, decode
from clawbus.wire.events import Event, decode_event
from tests.company import Live, free_ports, live, until


def trio_toml(ports: list[int]) -> str:
    """Two agents in one gateway, one in another; the CTO hears deployments and is woken by them, the QA only hears."""
    return f"""
company = "acme"
bus.port = {ports[0]}
policies = {{ lease = 10, digest = 2, quota = 2 }}
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
skills = ["python", "architecture"]
subscriptions = [{{ topic = "status.deploy", wake = true }}]
[[agents]]
id = "qa"
role = "role-qa"
team = "quality"
reports_to = "cto"
gateway = "lab"
model = "scripted"
subscriptions = ["status.*"]
[[pools]]
id = "testers"
members = ["cto", "qa"]
[[humans]]
id = "owner"
"""


@pytest.fixture
async def trio(tmp_path: Path) -> AsyncIterator[Live]:
    """Three agents, their nodes running, their gateways away."""
    async with live(tmp_path, None, toml=trio_toml(free_ports(3))) as company:
        await company.start("node-hq", "node-lab")
        yield company


async def inbox(trio: Live, agent: str) -> list[dict[str, Any]]:
    answer = await trio.tool("hq" if agent == "ceo" else "lab", agent, "nats_inbox")
    found: list[dict[str, Any]] = answer["data"]["messages"]
    return found


async def heard(trio: Live, agent: str, subject: str) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        return next((one for one in await inbox(trio, agent) if one["subject"] == subject), None)

    return await until(look, f"{subject} in the inbox of {agent}", 10)


async def events(trio: Live, thread: str) -> list[Event]:
    async with trio.owner() as bus:
        stored = await bus.stored(EVENTS, trio.company.subjects.events_of(thread))
    return [decode_event(one.data, trio.company.subjects.parse(one.subject)) for one in stored]


async def until_event(trio: Live, thread: str, kind: str, sender: str) -> Event:
    async def look() -> Event | None:
        return next((one for one in await events(trio, thread) if (one.kind, one.sender) == (kind, sender)), None)

    return await until(look, f"{kind} of {sender}", 10)


async def stored(trio: Live, stream: str, subject: str) -> list[Stored]:
    async with trio.owner() as bus:
        return await bus.stored(stream, subject)


async def test_k2_an_agent_hears_everyone_its_team_and_itself(trio: Live) -> None:
    """From its start on, and nothing of other teams; the sender does not hear itself."""
    for to, subject in (("all", "for all"), ("team:exec", "for exec"), ("team:quality", "for quality"), ("cto", "dm")):
        answer = await trio.tool("hq", "ceo", "nats_pub", to=to, message="hello", subject=subject)
        assert answer["ok"], answer
    for agent, subjects in (("cto", ["for all", "for exec", "dm"]), ("qa", ["for all", "for quality"])):
        for subject in subjects:
            await heard(trio, agent, subject)
        assert sorted(one["subject"] for one in await inbox(trio, agent)) == sorted(subjects)
    assert await inbox(trio, "ceo") == []


async def test_k2_what_was_said_before_a_node_started_is_heard_when_it_does(tmp_path: Path) -> None:
    """A broadcast waits on the bus for every gateway."""
    async with live(tmp_path, None, toml=trio_toml(free_ports(3))) as company:
        await company.start("node-hq")
        await company.tool("hq", "ceo", "nats_pub", to="all", message="good morning", subject="early")
        await company.start("node-lab")
        assert (await heard(company, "qa", "early"))["channel"] == "all"


async def test_k2_a_gateway_that_joins_later_hears_what_is_said_from_then_on(tmp_path: Path) -> None:
    """Not the two weeks before it: each of those would be a turn."""
    async with live(tmp_path, None, toml=trio_toml(free_ports(3))) as company:
        await company.start("node-hq")
        async with company.company.connect("provisioner") as bus:
            await bus.api(f"CONSUMER.DELETE.{BCAST}.gw-lab")
        await company.tool("hq", "ceo", "nats_pub", to="all", message="x", subject="before")
        await company.provision()
        await company.tool("hq", "ceo", "nats_pub", to="all", message="x", subject="after")
        await company.start("node-lab")
        await heard(company, "cto", "after")
        assert [one["subject"] for one in await inbox(company, "cto")] == ["after"]


async def test_a2_one_publish_reaches_all_subscribers_of_a_topic(trio: Live) -> None:
    """By its name and by a wildcard; who does not subscribe does not hear it; the answer says who does."""
    answer = await trio.tool("hq", "ceo", "nats_pub", to="topic:status.deploy", message="it is out", subject="v2")
    assert "heard by cto, qa" in answer["text"]
    for agent in ("cto", "qa"):
        assert (await heard(trio, agent, "v2"))["to"] == "status.deploy"
    answer = await trio.tool("hq", "ceo", "nats_pub", to="topic:status.build", message="it is red", subject="build")
    assert (await heard(trio, "qa", "build"))["channel"] == "topics"
    assert [one["subject"] for one in await inbox(trio, "cto")] == ["v2"]
    (one,) = await stored(trio, BCAST, trio.company.subjects.build("topics", "ceo", kind="status", name="deploy"))
    assert decode(one.data, "ceo").to == "status.deploy"


async def test_a_broadcast_is_kept_once_per_agent_however_often_it_is_handed_out(trio: Live) -> None:
    """The same message sent twice (the server's window for duplicates is over) is one message in each inbox."""
    said = Envelope.model_validate(
        {"id": "owner-1", "type": "message", "from": "owner", "to": "all", "body": "once", "subject": "once"}
    )
    async with trio.owner() as bus, trio.company.connect("provisioner") as provisioner:
        config = (await provisioner.api(f"STREAM.INFO.{BCAST}"))["config"]
        await provisioner.api(f"STREAM.UPDATE.{BCAST}", {**config, "duplicate_window": 100_000_000})

        async def stored_anew() -> bool:
            subject = trio.company.subjects.build("all", "owner")
            return not (await bus.publish(subject, said.encode(), msg_id=said.id)).duplicate

        assert await stored_anew()
        await until(stored_anew, "the end of the window")
    await heard(trio, "cto", "once")
    await trio.tool("hq", "ceo", "nats_pub", to="all", message="x", subject="after")
    await heard(trio, "cto", "after")
    assert [one["subject"] for one in await inbox(trio, "cto")] == ["once", "after"]


async def test_a_broadcast_that_claims_another_place_or_sender_is_refused(trio: Live) -> None:
    """What stands in the payload does not count against the subject."""
    said = {"id": "owner-1", "type": "message", "from": "owner", "to": "quality", "body": "x", "subject": "forged"}
    async with trio.owner() as bus:
        subject = trio.company.subjects.build("all", "owner")
        await bus.publish(subject, Envelope.model_validate(said).encode(), msg_id="owner-1")
        other = Envelope.model_validate(said | {"id": "owner-2", "to": "all", "from": "ceo"})
        await bus.publish(subject, other.encode(), msg_id=other.id)
    await trio.tool("hq", "ceo", "nats_pub", to="all", message="x", subject="real")
    await heard(trio, "qa", "real")
    assert [one["subject"] for one in await inbox(trio, "qa")] == ["real"]


REFUSED = [
    ({"to": "cto-athen"}, "nobody in acme has that name", "There are: ceo"),
    ({"to": "qua"}, "nobody", "Did you mean"),
    ({"to": "team:qualty"}, "nobody", "team:quality"),
    ({"to": "team:cto"}, "nobody", "team:exec"),
    ({"to": "testers"}, "takes tasks only", "Give it a task, or name one: cto, qa"),
    ({"to": "topic:weather.today"}, "not a topic", "kinds: tasks"),
    ({"to": "learning"}, "learning takes insight and confirm only", "to an agent"),
    ({"to": "learning", "type": "confirm"}, "a confirm names its insight", "insight's id"),
    ({"to": "external"}, "nobody", "There are"),
]


@pytest.mark.parametrize(("asked", "problem", "remedy"), REFUSED)
async def test_a_recipient_that_nobody_is_is_refused_before_anything_is_sent(
    trio: Live, asked: dict[str, str], problem: str, remedy: str
) -> None:
    """With the names that come near, for agents and for people alike."""
    answer = await trio.tool("hq", "ceo", "nats_pub", message="x", **asked)
    assert not answer["ok"]
    assert problem in answer["text"]
    assert remedy in answer["text"]
    with pytest.raises((InvalidInput, NotFound)):
        make_message(trio.org, "owner", NewMessage(asked["to"], "x", asked.get("type", "message")))  # type: ignore[arg-type]
    for stream, channel in ((BCAST, "all"), (BCAST, "team"), (BCAST, "topics"), (INBOX, "dm"), (LEARN, "learning")):
        assert await stored(trio, stream, trio.company.subjects.everything(channel)) == []


async def test_an_insight_has_an_id_of_its_own_and_a_confirm_names_it(trio: Live) -> None:
    """Both lie in LEARN, under their senders."""
    answer = await trio.tool("hq", "ceo", "nats_pub", to="learning", type="insight", message="short prompts help")
    insight = answer["data"]["taskId"]
    answer = await trio.tool("lab", "qa", "nats_pub", to="learning", type="confirm", message="seen", taskId=insight)
    assert answer["ok"], answer
    said = [
        decode(one.data, trio.company.subjects.parse(one.subject).sender)
        for one in await stored(trio, LEARN, trio.company.subjects.everything("learning"))
    ]
    assert [(one.sender, one.type, one.task_id) for one in said] == [
        ("ceo", "insight", insight),
        ("qa", "confirm", insight),
    ]


async def test_a_blocker_goes_to_the_superior_and_its_answer_resolves_it(trio: Live) -> None:
    """Whatever `to` says; raised, seen and resolved stand under its own id."""
    answer = await trio.tool("lab", "qa", "nats_pub", to="all", type="blocker", message="may I?", subject="a question")
    assert "reports_to is enforced" in answer["text"]
    assert answer["data"]["to"] == "cto"
    thread = answer["data"]["taskId"]
    raised = await until_event(trio, thread, "raised", "qa")
    assert raised.detail["to"] == "cto"
    letter = await heard(trio, "cto", "a question")
    await until_event(trio, thread, "seen", "cto")
    await trio.tool("lab", "cto", "nats_inbox", action="answer", messageId=letter["messageId"], message="you may")
    await until_event(trio, thread, "resolved", "cto")
    reply = await heard(trio, "qa", "Re: a question")
    assert (reply["taskId"], reply["priority"]) == (thread, "high")
    assert await stored(trio, BCAST, trio.company.subjects.everything("all")) == []


async def test_a_person_answers_a_blocker_of_an_agent_at_the_top(trio: Live) -> None:
    """`clawbus send ceo … --about ID`: the agent hears it, and the blocker is resolved by the person."""
    answer = await trio.tool("hq", "ceo", "nats_pub", to="cto", type="blocker", message="how much may it cost?")
    assert answer["data"]["to"] == "owner"
    thread = answer["data"]["taskId"]
    await until_event(trio, thread, "raised", "ceo")
    async with trio.owner() as bus:
        person = Person(trio.company, bus, "owner")
        await person.send(
            make_message(trio.org, "owner", NewMessage("ceo", "50 a month", subject="cost", about=thread))
        )
    await until_event(trio, thread, "resolved", "owner")
    assert (await heard(trio, "ceo", "cost"))["priority"] == "high"


async def test_a_person_speaks_to_a_team_and_on_a_topic(trio: Live) -> None:
    async with trio.owner() as bus:
        person = Person(trio.company, bus, "owner")
        for to, subject in (("team:exec", "team"), ("topic:status.deploy", "topic"), ("all", "all")):
            await person.send(make_message(trio.org, "owner", NewMessage(to, "hello", subject=subject)))
    for subject in ("team", "topic", "all"):
        await heard(trio, "cto", subject)


async def test_a6_what_waits_is_shown_by_its_priority_and_then_by_its_age(trio: Live) -> None:
    """Critical, high, medium, low; of one priority the oldest first."""
    for subject, priority in (("1", "low"), ("2", "medium"), ("3", "critical"), ("4", "high"), ("5", "critical")):
        await trio.tool("hq", "ceo", "nats_pub", to="cto", message="x", subject=subject, priority=priority)
    await heard(trio, "cto", "5")
    assert [one["subject"] for one in await inbox(trio, "cto")] == ["3", "5", "4", "2", "1"]


async def test_reading_a_broadcast_is_its_receipt_and_answering_it_goes_to_its_sender(trio: Live) -> None:
    """One receipt per agent, however often it is read; an answer is a direct message."""
    answer = await trio.tool("hq", "ceo", "nats_pub", to="all", message="who is in?", subject="roll call")
    thread = answer["data"]["taskId"]
    letter = await heard(trio, "qa", "roll call")
    await until_event(trio, thread, "seen", "qa")
    await inbox(trio, "qa")
    await trio.tool("lab", "qa", "nats_inbox", action="answer", messageId=letter["messageId"], message="I am")
    reply = await heard(trio, "ceo", "Re: roll call")
    assert (reply["channel"], reply["from"], reply["taskId"]) == ("dm", "qa", thread)
    assert [one.sender for one in await events(trio, thread) if one.kind == "seen"] == ["qa"]
    assert await inbox(trio, "qa") == []


async def test_what_the_agent_was_shown_survives_a_kill_of_its_node(trio: Live) -> None:
    """Broadcasts are acknowledged when they are stored here, so the ledger alone must have them."""
    await trio.tool("hq", "ceo", "nats_pub", to="team:quality", message="x", subject="kept")
    letter = await heard(trio, "qa", "kept")
    trio.kill("node-lab")
    await trio.start("node-lab")
    assert (await heard(trio, "qa", "kept"))["messageId"] == letter["messageId"]
