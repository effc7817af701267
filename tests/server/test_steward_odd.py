"""Odd messages: whatever a member or a guest puts on the bus, no duty chews on it for ever, and none is misled by it."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from clawbus.bus import STEWARD_READER, fetch_now
from clawbus.client.approvals import waiting
from clawbus.errors import Missing, Refused
from clawbus.org import STEWARD, Org, OrgMistakes, parse
from clawbus.steward import meeting
from clawbus.steward.duty import Duty
from clawbus.steward.steward import Steward
from clawbus.steward.webhook import read_url
from clawbus.tasks import NewTask
from clawbus.tasks.guests import place, read
from clawbus.wire.channels import BCAST, CTL, DEAD, ENDS, EVENTS, TASKS
from clawbus.wire.envelope import Envelope
from clawbus.wire.events import Event
from clawbus.wire.subjects import new_message_id
from tests.company import Live, until
from tests.server.office import LAB, alert_of, give, id_of, mail_of, office, steward, stored, work

THREAD = "a" * 26


async def send(company: Live, subject: str, data: bytes, key: str = LAB) -> None:
    async with company.company.connect(key) as bus:
        await bus.publish(subject, data, msg_id=id_of(data))


def event(task_id: str, kind: Any = "accepted", sender: str = "cto", **detail: Any) -> bytes:
    return Event(id=new_message_id(sender), kind=kind, task_id=task_id, sender=sender, detail=detail).encode()


async def settled(company: Live, stream: str) -> None:
    """Until the stewards' durable of a stream has nothing left, neither waiting nor handed out."""
    async with company.company.connect("provisioner") as bus:

        async def look() -> bool:
            state = await bus.api(f"CONSUMER.INFO.{stream}.steward")
            return not state["num_pending"] and not state["num_ack_pending"]

        await until(look, f"{stream} is done with")


def odd_messages() -> list[tuple[str, str, bytes]]:
    """(stream, subject, data): each well-formed enough to get past the first look."""
    end = Envelope(id="x", type="result", sender="cto", to="ceo", status="done", body="x")
    far = datetime(9999, 12, 31, 23, 0, tzinfo=UTC)
    order = Envelope(id="meet", type="control", sender="owner", to=STEWARD, subject="meet", body="{}")
    meet = {"of": "all", "agenda": "x", "lasts_s": 1}
    said = Envelope(id="y", type="message", sender="cto", to="all", task_id=THREAD, priority="high", body="x")
    return [
        (EVENTS, "acme.events.X.cto", event("X")),
        (EVENTS, f"acme.events.{THREAD}.cto", event(THREAD, to="ceo", ack_within_s=10**18)),
        (EVENTS, f"acme.events.{THREAD}.cto", event(THREAD, to="ceo", expires_at="9999-12-31T23:59:59-12:00")),
        (ENDS, f"acme.end.{THREAD}.cto", end.encode()),
        (
            ENDS,
            f"acme.end.{THREAD}.cto",
            end.model_copy(update={"id": "x-2", "task_id": THREAD, "to": "status.x"}).encode(),
        ),
        (BCAST, "acme.topics.meeting.X_Y.cto", said.model_copy(update={"type": "contribution"}).encode()),
        (BCAST, "acme.all.cto", said.model_copy(update={"id": "y-2", "created_at": far}).encode()),
        (DEAD, "acme.dead.X.cto", b"{}"),
        (CTL, "acme.ctl.steward.owner", order.model_copy(update={"body": json.dumps(meet)}).encode()),
        (
            CTL,
            "acme.ctl.steward.owner",
            order.model_copy(update={"id": "meet-2", "body": '{"lasts_s": 1e999}'}).encode(),
        ),
    ]


async def test_no_odd_message_comes_again_and_again(tmp_path: Path) -> None:
    """What no duty can make sense of is refused once; it does not come back every few seconds."""
    async with office(tmp_path) as company:
        for _, subject, data in odd_messages():
            await send(company, subject, data, "me-owner" if subject.endswith("owner") else LAB)
        async with steward(company):
            for stream in (EVENTS, ENDS, BCAST, DEAD, CTL):
                await settled(company, stream)


async def test_a_letter_that_is_no_json_does_not_hide_the_others(tmp_path: Path) -> None:
    """Of one task there may be several letters; a malformed one among them keeps nobody from deciding."""
    async with office(tmp_path) as company:
        await send(company, f"acme.dead.{THREAD}.cto", b"no json")
        await send(company, f"acme.dead.{THREAD}.cto", b'{"reason": "r", "subject": "s"}')
        async with steward(company):
            await alert_of(company, "dead", THREAD, True)
            order = Envelope(id="o", type="control", sender="owner", to=STEWARD, task_id=THREAD, body='{"do": "prune"}')
            await send(company, "acme.ctl.steward.owner", order.encode(), "me-owner")
            await alert_of(company, "dead", THREAD, False)


async def test_an_end_that_does_not_count_stops_no_deadline(tmp_path: Path) -> None:
    """Somebody who has no part in a task writes an end: its deadline stays."""
    async with office(tmp_path) as company:
        task = await give(company, NewTask("cto", "x", ack_within_s=600))
        task_id = task.task_id or ""
        async with steward(company) as one:
            await until(lambda: one.context.timer("deadlines", task_id), "the deadline is set")
            false = Envelope(
                id="f", type="result", sender="security", to="ceo", task_id=task_id, status="done", body="x"
            )
            await send(company, f"acme.end.{task_id}.security", false.encode(), "gw-sec")
            await settled(company, ENDS)
            assert await one.context.timer("deadlines", task_id) is not None
            await work(company)

            async def gone() -> bool:
                return await one.context.timer("deadlines", task_id) is None

            await until(gone, "the end that counts takes the deadline back")


async def test_an_alert_about_what_has_left_org_toml_is_cleared(tmp_path: Path) -> None:
    """Lag of an agent that is gone, recurring work that was struck out: nothing would ever clear these."""
    async with office(tmp_path) as company:
        async with company.company.connect("steward") as bus:
            context = Steward(company.org, bus).context
            await context.alert("lag", "gone", True, "x")
            await context.alert("recurring", "weekly", True, "x")
        async with steward(company):
            await alert_of(company, "lag", "gone", False)
            await alert_of(company, "recurring", "weekly", False)


async def test_nobody_hides_the_question_of_another(tmp_path: Path) -> None:
    """A question that somebody else has put under the same task does not stand in for the worker's."""
    async with office(tmp_path) as company:
        for sender, key in (("security", "gw-sec"), ("cto", LAB)):
            detail = {"side": "dispatch", "to": "owner", "text": f"of {sender}"}
            data = event(THREAD, "waiting_approval", sender, **detail)
            await send(company, f"acme.events.{THREAD}.{sender}", data, key)
        async with company.owner() as bus:
            asked = await waiting(bus, company.company)
        assert [(one.agent, one.text) for one in asked] == [("security", "of security"), ("cto", "of cto")]


GUESTS = 'company = "acme"\nguests.enabled = true\n[[gateways]]\nid = "g"\nport = 18789\n[[agents]]\nid = "cto"\ngateway = "g"'


def guests_org() -> Org:
    return parse(tomllib.loads(GUESTS))


@pytest.mark.parametrize(
    "data",
    [
        b'{"type": "query", "reply_timeout_seconds": 1e999}',
        b'{"subject": "\\ud800", "message": "x"}',
        b'{"message": "x", "artifact_path": "\\ud800"}',
        b'{"message": "x", "on_complete": {"publish_to": "genbrain.agents.cto.tasks", "payload_template": "\\ud800"}}',
        b'{"message": "x", "a": ' + b"[" * 600 + b"]" * 600 + b"}",
    ],
)
def test_every_json_of_a_guest_becomes_an_envelope(data: bytes) -> None:
    """A number that is none, half a character, a thousand brackets: read as data, and fit to be sent."""
    words = read(guests_org(), data, "dm")
    said = Envelope(
        id="x", type=words.kind, sender="external", to="cto", subject=words.title, body=words.text,
        artifacts=words.artifacts, on_complete=words.on_complete,
    )  # fmt: skip
    assert said.encode()


@pytest.mark.parametrize("subject", ["agent-hub.topics.status.Foo_Bar", "genbrain.agents.cto_x.status"])
def test_a_topic_whose_name_is_none_is_nowhere(subject: str) -> None:
    """A guest may write any word into his subject; the company's own would refuse it."""
    assert place(guests_org(), subject) is None


def test_a_life_without_end_is_a_mistake() -> None:
    """A duration that no clock can hold is found in the file, and not when the first insight comes."""
    with pytest.raises(OrgMistakes):
        parse(tomllib.loads(GUESTS + '\n[learning]\nlife = "999999999d"'))


def test_people_who_are_none_are_said_once() -> None:
    """A list whose entries are wrong is not also called empty."""
    with pytest.raises(OrgMistakes) as found:
        parse({"company": "acme", "gateways": [1], "agents": [2], "humans": [3]})
    assert not [line for line in found.value.problems if "empty" in line]


async def test_a_meeting_whose_team_is_gone_ends_all_the_same(tmp_path: Path) -> None:
    """org.toml has lost the team meanwhile: who called the meeting gets its report, at the deadline."""
    async with office(tmp_path) as company, company.company.connect("steward") as bus:
        context = Steward(company.org, bus).context
        held = meeting.Meeting(THREAD, "gone", "x", datetime.now(UTC) - timedelta(seconds=1), "owner")
        await meeting.begin(context, held)
        await meeting.end(context, held)
        assert "Report" in (await mail_of(company, type="report", task_id=THREAD)).body


async def test_a_query_where_nobody_answers_queries_is_not_lost(tmp_path: Path) -> None:
    """Queries are answered on one kind of subject; on another one it is a task without a listener."""
    head = "[guests]\nenabled = true"
    async with office(tmp_path, head=head) as company, company.company.connect("steward") as bus:
        guests = next(one for one in Steward(company.org, bus).duties if one.rule == "guests")
        await guests.on_guest("komodo-ai.dm.cto", b'{"type": "query", "question": "why?"}', 1)
        await guests.on_guest("genbrain.agents.cto.inbox", b'{"type": "query", "question": "who?"}', 2)
        waiting = await stored(company, TASKS, company.company.subjects.tasks_for("cto", "medium"))
        assert [one.subject for one in waiting] == ["why?"]


@pytest.mark.parametrize("url", ["http://[::1", "https://example.org:port/x"])
def test_a_webhook_that_is_no_url_is_said_and_not_shown(tmp_path: Path, url: str) -> None:
    """The remedy names the file; what stands in it goes into no log."""
    file = tmp_path / "hook"
    file.write_text(url)
    file.chmod(0o600)
    with pytest.raises(Missing) as found:
        read_url(file)
    assert url not in str(found.value)


@pytest.mark.parametrize("url", ["", "x y", "nats://[::1", "nats://h:port", "nats://"])
def test_an_address_of_no_server_is_a_mistake(url: str) -> None:
    """Otherwise it would look like a server that is down."""
    with pytest.raises(OrgMistakes, match="mistake"):
        parse(tomllib.loads(GUESTS) | {"bus": {"url": url}})
    assert parse(tomllib.loads(GUESTS) | {"bus": {"url": "nats://[::1]:4222"}}).url


class Stumbling(Duty):
    """A duty that cannot handle any event."""

    rule = "stumbling"
    problem: Exception = ValueError("odd")

    async def on_event(self, event: Event) -> None:
        raise self.problem


@pytest.mark.parametrize(("problem", "left"), [(ValueError("odd"), 0), (Refused("no room", ""), 1)])
async def test_what_no_try_can_handle_is_given_up(tmp_path: Path, problem: Exception, left: int) -> None:
    """At the sixth try a message that a duty stumbles over is dropped; one that the bus refuses for now is kept."""
    async with office(tmp_path) as company, company.company.connect("steward") as bus:
        await send(company, f"acme.events.{THREAD}.cto", event(THREAD, "progress"))
        one = Steward(company.org, bus)
        stumbling = Stumbling(one.context)
        stumbling.problem = problem
        one.duties.append(stumbling)
        (delivery,) = await fetch_now(bus, EVENTS, STEWARD_READER, 1)
        one._failed[delivery.subject, delivery.stream_seq] = 5
        await one._handling(one._event)(delivery)
        await bus.flush()
        state = await bus.api(f"CONSUMER.INFO.{EVENTS}.{STEWARD_READER}")
        assert state["num_ack_pending"] == left


async def test_people_are_told_of_the_end_that_counts(tmp_path: Path) -> None:
    """Somebody who has no part in a task writes that it is done: nobody is told so."""
    async with office(tmp_path, '[[oversight]]\nagent = "cto"\nlevel = "told"') as company:
        task = await give(company, NewTask("cto", "x"))
        task_id = task.task_id or ""
        false = Envelope(id="f", type="result", sender="security", to="ceo", task_id=task_id, status="done", body="ha")
        async with steward(company):
            await send(company, f"acme.end.{task_id}.security", false.encode(), "gw-sec")
            await settled(company, ENDS)
            await work(company, "real")
            told = await mail_of(company, type="report", subject="a task has ended")
        assert "by cto" in told.body
        assert "real" in told.body


class Listening(Duty):
    """A duty that remembers what it hears."""

    rule = "listening"

    async def on_event(self, event: Event) -> None:
        heard.append(event.id)


heard: list[str] = []


async def test_a_copy_of_an_event_is_counted_and_no_duty_hears_it(tmp_path: Path) -> None:
    """Whoever has stolen credentials can say again what another has signed, later than the server knows its id."""
    async with office(tmp_path) as company, company.company.connect("steward") as bus:
        one = Steward(company.org, bus)
        one.duties.append(Listening(one.context))
        said = event(THREAD, "progress")
        await send(company, f"acme.events.{THREAD}.cto", said)
        (first,) = await fetch_now(bus, EVENTS, STEWARD_READER, 1)
        for delivery in (first, replace(first, stream_seq=first.stream_seq + 1), first):  # the last: handed out again
            await one._handling(one._event)(delivery)
        assert heard == [id_of(said)] * 2
        assert bus.verifier.refused == {"replayed": 1}
        assert [*one._seen] == [(first.subject, id_of(said))]  # an id that another has used first hides nobody's event
