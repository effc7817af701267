"""The table of channels: subjects, streams and permissions follow from it, and what is durable survives a `kill -9`."""

from __future__ import annotations

import asyncio

import pytest

from clawbus.errors import InvalidInput, Refused, WireError
from clawbus.provision.streams import stream_configs
from clawbus.wire.channels import CHANNELS, STREAMS, Channel
from clawbus.wire.envelope import Envelope
from clawbus.wire.events import Event
from clawbus.wire.subjects import Subjects, check_topic, new_message_id, new_task_id
from tests.company import Live, until

SUBJECTS = Subjects("acme")
TOKENS = {
    "to": "cto-athena", "priority": "high", "task": "a" * 26, "team": "exec", "kind": "status", "name": "deploy",
    "sha256": "0" * 64, "part": "1", "phase": "due", "rule": "lag", "key": "cto-athena",
    "member": "cto-athena", "target": "cto-athena", "trace": "a" * 26,
}  # fmt: skip
KEPT = {"TASKS": 1, "INBOX": 1, "BCAST": 1, "EVENTS": 1}


@pytest.mark.parametrize("row", CHANNELS, ids=lambda row: row.name)
def test_what_is_built_is_parsed_again(row: Channel) -> None:
    """Each channel's subject carries its tokens and its sender."""
    tokens = {name: TOKENS[name] for name in row.tokens}
    parsed = SUBJECTS.parse(SUBJECTS.build(row.name, "ceo-genesis", **tokens))
    assert (parsed.channel, parsed.sender, parsed.tokens) == (row.name, "ceo-genesis", tokens)


@pytest.mark.parametrize("bad", ["*", ">", "a.b", "", "A", "a b", "x" * 33, "-a", "\u202ea"])
def test_no_wildcard_becomes_a_token_of_a_message(bad: str) -> None:
    """Only filters know wildcards: a message to `*` would be one to everybody."""
    with pytest.raises(InvalidInput):
        SUBJECTS.build("dm", "ceo-genesis", to=bad)
    with pytest.raises(InvalidInput):
        SUBJECTS.build("dm", bad, to="cto-athena")


@pytest.mark.parametrize("subject", ["acme.dm.a", "acme.dm.a.b.c", "acme.nothing.a", "other.dm.a.b", "acme", ""])
def test_what_is_no_subject_of_the_company_is_refused(subject: str) -> None:
    """Neither longer nor shorter than its channel's row."""
    with pytest.raises(WireError):
        SUBJECTS.parse(subject)


@pytest.mark.parametrize("topic", ["status", "status.", "news.deploy", "status.a.b", "status.*", "*.deploy"])
def test_a_topic_has_a_kind_and_a_name(topic: str) -> None:
    """The kinds are those of the documents; `*` stands in subscriptions only."""
    with pytest.raises(InvalidInput):
        check_topic("to", topic)
    assert check_topic("topic", "decisions.*", wildcard=True) == ("decisions", "*")


async def test_every_stream_has_a_bound_and_none_of_them_overlap(bus_only: Live) -> None:
    """The server took them all: it refuses streams that share a subject."""
    configs = stream_configs(bus_only.org)
    assert {config["name"] for config in configs} == {stream.name for stream in STREAMS} - {"GUEST"}
    assert all(config["max_bytes"] > 0 for config in configs)
    assert all(config["max_age"] > 0 or config["max_msgs_per_subject"] == 1 for config in configs)  # a state has no age


async def test_g1_what_is_durable_survives_and_what_is_for_watching_is_not_kept(bus_only: Live) -> None:
    """Tasks, inbox, broadcasts and events stand after `kill -9` of the server; presence is heard, and gone."""
    task_id = new_task_id()
    async with bus_only.company.connect("gw-hq") as hq, bus_only.owner() as owner:
        heard = asyncio.Event()
        await owner.listen("acme.presence.*", lambda _: heard.set())
        await owner.flush()
        for channel, tokens in (
            ("tasks", {"to": "cto-athena", "priority": "medium"}),
            ("dm", {"to": "owner"}),
            ("all", {}),
        ):
            mail = _mail(task_id)
            await hq.publish(SUBJECTS.build(channel, "ceo-genesis", **tokens), mail.encode(), msg_id=mail.id)
        event = Event(id=new_message_id("ceo-genesis"), kind="accepted", task_id=task_id, sender="ceo-genesis")
        await hq.publish(SUBJECTS.event(task_id, "ceo-genesis"), event.encode(), msg_id=event.id)
        await hq.tell("acme.presence.ceo-genesis", b'{"ready": true}')
        await asyncio.wait_for(heard.wait(), 5)
    bus_only.kill("nats-server")
    await bus_only.start("nats-server")
    async with bus_only.owner() as owner:

        async def counts() -> dict[str, int]:
            return {name: (await owner.api(f"STREAM.INFO.{name}"))["state"]["messages"] for name in KEPT}

        assert await until(counts, "the streams") == KEPT


async def test_a_gateway_may_not_raise_alerts_or_set_timers(bus_only: Live) -> None:
    """These rows of the table are the steward's; a timer could forge a task."""
    async with bus_only.company.connect("gw-hq") as hq:
        for channel, phase in (("alerts", {}), ("timers", {"phase": "set"})):
            subject = SUBJECTS.build(channel, "ceo-genesis", rule="lag", key="x", **phase)
            with pytest.raises(Refused, match="may not publish"):
                await hq.publish(subject, b"{}", msg_id="ceo-genesis-1")


def _mail(task_id: str) -> Envelope:
    message_id = new_message_id("ceo-genesis")
    return Envelope(id=message_id, type="message", sender="ceo-genesis", to="owner", task_id=task_id, body="x")
