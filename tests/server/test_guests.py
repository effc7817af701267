"""Plain clients: the subjects and the JSON of the published examples, literally, over a real nats-server."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats
import nats.errors
import pytest
from nats.aio.client import Client

from clawbus.bus import Bus, gateway_reader
from clawbus.bus.jwt import claims_of, read_creds
from clawbus.errors import NotFound
from clawbus.org import EXTERNAL, Org, parse
from clawbus.steward.context import Context
from clawbus.steward.duties.guest_messages import GuestMessages
from clawbus.steward.steward import Steward
from clawbus.tasks.guests import guest_subjects, place, read
from clawbus.wire.channels import BCAST, EVENTS, INBOX, LEARN, TASKS
from clawbus.wire.envelope import Envelope, decode
from tests.company import ROOT, Live, free_ports, live, until
from tests.server.office import alert_of, mail_of, steward, work

KOMODO_TASK = """{
  "from": "ceo-genesis",
  "type": "task",
  "to": "team:exec",
  "subject": "Evaluate Node.js 18 → 22 migration",
  "priority": "high",
  "context": "We need to upgrade before Node 18 EOL in April 2026.",
  "deadline": "2026-04-07",
  "artifact_path": "r2://komodo-ai/tasks/node22-migration-brief.md"
}"""
KOMODO_REPORT = """{
  "from": "cto-athena",
  "type": "report",
  "re": "Node 18 → 22 migration evaluation",
  "status": "complete",
  "recommendation": "proceed",
  "summary": "Migration is safe. 3 deprecated crypto APIs need updating (auth module). Estimated effort: 4 hours.",
  "breaking_changes": [
    "crypto.createCipher → crypto.createCipheriv (auth/encrypt.ts:34)",
    "fs.rmdir recursive → fs.rm recursive (scripts/cleanup.ts:12)",
    "util.isArray → Array.isArray (utils/helpers.ts:89)"
  ],
  "artifacts": [
    "r2://komodo-ai/reports/node22-migration-2026-04-05.md",
    "r2://komodo-ai/reports/node22-test-results.txt"
  ]
}"""
HUB_MESSAGE = """{
"from_operator": "operator-ceo",
"from_role": "ceo",
"timestamp": "2026-05-17T08:00:00.000Z",
"type": "direct_message",
"payload": {
"subject": "Sprint task assignment",
"message": "Backend: implement the new attachment API endpoint...",
"priority": "high"
}
}"""
GENBRAIN_TASK = """{
  "task_id": "task-1847",
  "type": "feature_implementation",
  "title": "Add rate limiting to API gateway",
  "sla": {
    "ack_within_seconds": 60,
    "complete_within_minutes": 60
  },
  "on_complete": {
    "publish_to": "genbrain.agents.security.tasks",
    "payload_template": "security_review"
  }
}"""
QUERY = {"type": "query", "question": "staging_health_check", "reply_timeout_seconds": 30}


def org_data(ports: list[int], **guests: Any) -> dict[str, Any]:
    """A company of four roles on two gateways."""
    return {
        "company": "acme",
        "bus": {"port": ports[0]},
        "guests": {"enabled": True, **guests},
        "gateways": [{"id": "hq", "port": ports[1]}, {"id": "lab", "port": ports[2]}],
        "agents": [
            {"id": "ceo-genesis", "role": "role-ceo", "gateway": "hq"},
            {"id": "cto-athena", "role": "role-cto", "gateway": "lab"},
            {"id": "be-1", "role": "role-backend", "team": "build", "gateway": "lab"},
            {"id": "sec-ada", "role": "role-security", "team": "build", "gateway": "lab",
             "subscriptions": ["status.deploy"]},
        ],
    }  # fmt: skip


@pytest.fixture
async def company(tmp_path: Path) -> AsyncIterator[Live]:
    async with live(tmp_path, None, toml=json_to_toml(org_data(free_ports(3)))) as running:
        yield running


def json_to_toml(data: dict[str, Any]) -> str:
    """Inline tables and arrays: TOML that is close enough to JSON for what stands here."""

    def value(one: Any) -> str:
        if isinstance(one, dict):
            return "{" + ", ".join(f"{key} = {value(item)}" for key, item in one.items()) + "}"
        if isinstance(one, list):
            return "[" + ", ".join(map(value, one)) + "]"
        return json.dumps(one)

    return "\n".join(f"{key} = {value(item)}" for key, item in data.items())


@contextlib.asynccontextmanager
async def guest(company: Live) -> AsyncIterator[Client]:
    """A plain nats client with the guests' credential, and nothing of ours."""
    creds = company.company.identity("guest").creds_file
    client = await nats.connect(company.org.url, user_credentials=str(creds))
    try:
        yield client
    finally:
        await client.close()


async def stored(bus: Bus, stream: str, pattern: str) -> Envelope:
    """The first message that a stream holds on a pattern, once it is there."""

    async def look() -> Envelope | None:
        found = await bus.next_message(stream, pattern)
        return decode(found.data, EXTERNAL) if found else None

    return await until(look, f"{stream} {pattern}", 10)


@pytest.mark.parametrize(
    ("subject", "payload", "stream", "pattern", "kind", "text"),
    [
        ("komodo-ai.exec", KOMODO_TASK, BCAST, "acme.team.exec.external", "message", "before Node 18 EOL"),
        ("komodo-ai.all", KOMODO_REPORT, BCAST, "acme.all.external", "report", "Migration is safe"),
        ("komodo-ai.dm.ceo-genesis", KOMODO_REPORT, INBOX, "acme.dm.ceo-genesis.external", "report", "encrypt.ts:34"),
        ("komodo-ai.dm.cto-athena", KOMODO_TASK, TASKS, "acme.tasks.cto-athena.high.external", "task", "Node 18 EOL"),
        ("agent-hub.operators.operator-backend.inbox", HUB_MESSAGE, INBOX, "acme.dm.be-1.external", "message",
         "attachment API"),
        ("agent-hub.topics.status.deploy", HUB_MESSAGE, BCAST, "acme.topics.status.deploy.external", "message",
         "attachment API"),
        ("agent-hub.global.announcements", HUB_MESSAGE, BCAST, "acme.all.external", "message", "attachment API"),
        ("genbrain.learning.backend", '{"insight": "retry on 429"}', LEARN, "acme.learning.external", "insight",
         "retry on 429"),
        ("genbrain.agents.cto.tasks", GENBRAIN_TASK, TASKS, "acme.tasks.cto-athena.medium.external", "task",
         "Add rate limiting"),
        ("genbrain.agents.cto.inbox", HUB_MESSAGE, INBOX, "acme.dm.cto-athena.external", "message", "attachment API"),
        ("genbrain.agents.cto.status", '{"state": "busy"}', BCAST, "acme.topics.status.cto.external", "message", "busy"),
        ("genbrain.org.broadcasts", "policy: no deploys on Friday", BCAST, "acme.all.external", "message", "Friday"),
        ("genbrain.org.events", "{}", BCAST, "acme.topics.status.events.external", "message", "{}"),
    ],
)  # fmt: skip
async def test_a4_the_literal_json_reaches_the_right_place(
    company: Live, subject: str, payload: str, stream: str, pattern: str, kind: str, text: str
) -> None:
    """What the documents print, published as they print it, arrives from `external` with its text whole."""
    async with steward(company), guest(company) as client, company.owner() as bus:
        await client.publish(subject, payload.encode())
        mail = await stored(bus, stream, pattern)
    assert (mail.type, mail.sender) == (kind, EXTERNAL)
    assert text in mail.body


async def test_a4_the_payload_of_the_documents_envelope_is_looked_into(company: Live) -> None:
    """Its subject and its priority are the message's own: a high one wakes the agent."""
    async with steward(company), guest(company) as client, company.owner() as bus:
        await client.publish("agent-hub.operators.operator-backend.inbox", HUB_MESSAGE.encode())
        mail = await stored(bus, INBOX, "acme.dm.be-1.external")
    assert (mail.subject, mail.priority) == ("Sprint task assignment", "high")
    assert mail.body.startswith("Backend: implement the new attachment API endpoint...")


async def test_what_was_said_while_no_steward_was_there_arrives_later(company: Live) -> None:
    """The guests' stream keeps it: a plain publish is durable, though nothing acknowledges it."""
    async with guest(company) as client, company.owner() as bus:
        await client.publish("komodo-ai.dm.ceo-genesis", KOMODO_REPORT.encode())
        await client.flush()
        async with steward(company):
            mail = await stored(bus, INBOX, "acme.dm.ceo-genesis.external")
    assert mail.subject == "Node 18 → 22 migration evaluation"


async def test_the_sla_the_chain_and_the_artifacts_are_understood(company: Live) -> None:
    """They become what the company's own tasks have; a claimed sender stays in the text."""
    async with steward(company), guest(company) as client, company.owner() as bus:
        await client.publish("genbrain.agents.cto.tasks", GENBRAIN_TASK.encode())
        await client.publish("komodo-ai.dm.cto-athena", KOMODO_TASK.encode())
        task = await stored(bus, TASKS, "acme.tasks.cto-athena.medium.external")
        brief = await stored(bus, TASKS, "acme.tasks.cto-athena.high.external")
    assert task.sla is not None
    assert task.on_complete is not None
    assert (task.sla.ack_within_seconds, task.sla.complete_within_minutes) == (60, 60)
    assert (task.on_complete.to, task.on_complete.template) == ("sec-ada", "security_review")
    assert [one.uri for one in brief.artifacts] == ["r2://komodo-ai/tasks/node22-migration-brief.md"]
    assert '"from": "ceo-genesis"' in brief.body


async def test_g3_a_plain_request_gets_the_agents_answer_and_no_receipt(company: Live) -> None:
    """The tutorial's own call: the first and only reply is what the agent has said."""
    async with steward(company), guest(company) as client, company.company.connect("gw-lab") as lab:
        asking = asyncio.create_task(
            client.request("genbrain.agents.cto.inbox", json.dumps(QUERY).encode(), timeout=30)
        )
        task = await until(lambda: _task_for(company), "the task", 10)
        assert not asking.done()
        end = task.model_copy(update={"id": "cto-athena-end", "type": "result", "sender": "cto-athena",
                                      "to": EXTERNAL, "status": "done", "body": "staging is well"})  # fmt: skip
        await lab.publish(f"acme.end.{task.task_id}.cto-athena", end.encode(), msg_id=end.id)
        answer = json.loads((await asking).data)
    assert (answer["status"], answer["answer"], answer["from"]) == ("done", "staging is well", "cto-athena")


async def test_a_request_past_its_deadline_is_pending(company: Live) -> None:
    """Not an error, and not silence: the task goes on under the id that is given."""
    query = json.dumps({**QUERY, "reply_timeout_seconds": 2}).encode()
    async with steward(company), guest(company) as client:
        answer = json.loads((await client.request("genbrain.agents.cto.inbox", query, timeout=10)).data)
        task = await until(lambda: _task_for(company), "the task", 10)
    assert answer == {"status": "pending", "task_id": task.task_id, "to": "cto-athena"}


async def test_two_stewards_make_one_task_of_a_request(company: Live) -> None:
    """Both hear it; the task's id follows from the reply subject."""
    query = json.dumps({**QUERY, "reply_timeout_seconds": 2}).encode()
    async with steward(company), steward(company), guest(company) as client, company.owner() as bus:
        await client.request("genbrain.agents.cto.inbox", query, timeout=10)
        assert len(await bus.stored(TASKS, "acme.tasks.*.*.external")) == 1


async def test_a_thief_cannot_use_the_ids_of_a_guests_task_first(company: Live) -> None:
    """The server drops what comes second under an id, and the task's own id is readable in SPEND before the task is."""
    async with company.company.connect("steward") as bus, company.company.connect("gw-hq") as thief:
        context = Context(company.org, bus)
        reserve = context.spend.reserve

        async def reserved(task: Envelope) -> None:
            await reserve(task)
            for name in (f"external-{task.task_id}", f"external-{task.task_id}-accepted", f"external-{task.seed}"):
                for subject in ("acme.tasks.be-1.low.ceo-genesis", f"acme.events.{task.task_id}.ceo-genesis"):
                    await thief.publish(subject, b"x", msg_id=name)

        context.spend.reserve = reserved  # type: ignore[method-assign]  # at this moment, and not by luck
        await GuestMessages(context).on_guest("genbrain.agents.cto.tasks", GENBRAIN_TASK.encode(), 1)
        task = await stored(bus, TASKS, "acme.tasks.cto-athena.medium.external")
        assert len(await bus.stored(EVENTS, f"acme.events.{task.task_id}.external")) == 1


async def test_a_query_that_is_only_published_reaches_the_agent(company: Live) -> None:
    """Nobody waits for its answer, so it is no task; it is not lost either, with two stewards or with none at first."""
    query = json.dumps(QUERY).encode()
    async with guest(company) as client:
        await client.publish("genbrain.agents.cto.inbox", query)
        await client.flush()
        async with steward(company), steward(company), company.owner() as bus:
            await until(lambda: _mails(company, 1), "what was said before they came", 10)
            await client.publish("genbrain.agents.cto.inbox", query)
            await until(lambda: _mails(company, 2), "what was said now", 10)
            await client.request("genbrain.agents.cto.inbox", json.dumps({**QUERY, "reply_timeout_seconds": 2}).encode(),
                                 timeout=10)  # fmt: skip
            said = [decode(one.data, EXTERNAL) for one in await bus.stored(INBOX, "acme.dm.cto-athena.external")]
            assert len(await bus.stored(TASKS, "acme.tasks.*.*.external")) == 1  # the request, and it is no mail
    assert [(one.type, one.subject) for one in said] == [("message", "staging_health_check")] * 2


async def test_a_roles_replicas_share_the_queue_that_a_guest_speaks_of(tmp_path: Path) -> None:
    """A task for the role goes to the pool: any of them may take it; so does the next one of a chain."""
    data = org_data(free_ports(3))
    data["agents"].append({"id": "be-2", "role": "role-backend", "gateway": "hq"})
    data["pools"] = [{"id": "backend", "members": ["be-1", "be-2"]}]
    data["edges"] = [{"from": "cto-athena", "to": "backend", "name": "build"}]
    then = {"publish_to": "genbrain.agents.backend.tasks", "payload_template": "build"}
    toml = json_to_toml(data)
    async with (
        live(tmp_path, None, toml=toml) as company,
        steward(company),
        guest(company) as client,
        company.owner() as bus,
    ):
        await client.publish("genbrain.agents.backend.tasks", b'{"title": "build it"}')
        await client.publish("genbrain.agents.backend.inbox", b'{"type": "message", "message": "all of you"}')
        await client.publish("genbrain.agents.cto.tasks", json.dumps({"title": "plan", "on_complete": then}).encode())
        task = await stored(bus, TASKS, "acme.tasks.backend.*.external")
        plan = await stored(bus, TASKS, "acme.tasks.cto-athena.*.external")
        for member in ("be-1", "be-2"):
            assert (await stored(bus, INBOX, f"acme.dm.{member}.external")).body.startswith("all of you")
    assert task.to == "backend"
    assert plan.on_complete is not None
    assert (plan.on_complete.to, plan.on_complete.template) == ("backend", "build")


@pytest.mark.parametrize("agents", [("be-1", "be-2"), ("be-1",)])
def test_a_pool_is_a_roles_queue_only_if_it_is_made_of_it(agents: tuple[str, ...]) -> None:
    """Whoever else is in a pool does not get what was meant for a role."""
    data = org_data([4222, 18789, 18909])
    data["agents"].append({"id": "be-2", "role": "role-backend" if len(agents) > 1 else "role-qa", "gateway": "hq"})
    data["pools"] = [{"id": "makers", "members": ["be-1", "be-2"]}]
    found = place(parse(data), "genbrain.agents.backend.tasks")
    assert found is not None
    assert (found.to, found.queues[0]) == (agents, "makers" if len(agents) > 1 else "be-1")


@pytest.mark.parametrize("to", ["genbrain.agents.nobody.tasks", "genbrain.org.broadcasts", ""])
async def test_people_hear_that_a_guests_chain_leads_nowhere(company: Live, to: str) -> None:
    """The guest has no inbox; the task is given all the same."""
    then = {"publish_to": to, "payload_template": "security_review"}
    async with steward(company), guest(company) as client, company.owner() as bus:
        await client.publish("genbrain.agents.cto.tasks", json.dumps({"title": "x", "on_complete": then}).encode())
        task = await stored(bus, TASKS, "acme.tasks.cto-athena.*.external")
        mail = await mail_of(company, subject="not all that a guest wants")
    assert f"task {task.task_id}. When it is done, nobody takes over" in mail.body
    assert repr(to) in mail.body


async def test_people_hear_that_a_guest_spoke_where_nobody_listens(company: Live) -> None:
    async with steward(company) as one, guest(company) as client:
        await client.publish("genbrain.agents.nobody.tasks", b'{"title": "x"}')
        alert = await alert_of(company, "guests", "nobody", True)
        assert "genbrain.agents.nobody.tasks, where nobody of the company listens" in alert.text
        duty = next(duty for duty in one.duties if duty.rule == "guests")
        await duty.on_timer("nobody", {})
        await alert_of(company, "guests", "nobody", False)


async def test_people_hear_that_a_guests_chain_has_no_edge(company: Live) -> None:
    """The tutorial's own task, where org.toml names no edge: it ends at the CTO, and that is said."""
    async with steward(company), guest(company) as client:
        await client.publish("genbrain.agents.cto.tasks", GENBRAIN_TASK.encode())
        await work(company)
        mail = await mail_of(company, subject="a chain has ended early")
    assert "org.toml names no edge from cto-athena to sec-ada" in mail.body


async def test_the_guests_credentials_are_renewed_while_the_company_runs(tmp_path: Path) -> None:
    """A plain client renews nothing: the steward does, so that it can connect again after their life is over."""
    ports = free_ports(3)
    toml = json_to_toml({**org_data(ports), "bus": {"port": ports[0], "credentials": "10s"}})
    async with live(tmp_path, None, toml=toml) as company:
        file = company.company.identity("guest").creds_file
        assert file is not None
        first = read_creds(file)
        async with company.company.connect("steward") as bus:
            working = asyncio.create_task(Steward(company.org, bus, tmp_path).run())

            async def renewed() -> bool:
                return bool(claims_of(read_creds(file))["exp"] > claims_of(first)["exp"] + 10)

            await until(renewed, "credentials that begin after the first ones have ended", 30)
            client = await nats.connect(company.org.url, user_credentials=str(file))
            await client.close()
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)


def test_the_page_for_guests_names_the_file_that_there_is(company: Live) -> None:
    """Its command is the first thing that a reader tries."""
    file = company.company.identity("guest").creds_file
    assert file is not None
    page = (ROOT / "docs" / "guests.md").read_text()
    assert f"nats pub --creds {file.relative_to(company.org_file.parent)} komodo-ai.exec" in page


@pytest.mark.parametrize("subject", ["acme.dm.cto-athena.external", "acme.dm.cto-athena.ceo-genesis", "acme.all.external",
                                     "$JS.API.STREAM.LIST", "_INBOX.gw-lab.x", "komodo-ai.build.x"])  # fmt: skip
async def test_a_guest_may_publish_nowhere_else(company: Live, subject: str) -> None:
    """The server refuses it; the company's own subjects are not his."""
    refused: asyncio.Queue[str] = asyncio.Queue()

    async def note(error: Exception) -> None:
        refused.put_nowait(str(error))

    creds = company.company.identity("guest").creds_file
    client = await nats.connect(company.org.url, user_credentials=str(creds), error_cb=note)
    try:
        await client.publish(subject, b"{}")
        await client.flush()
        assert "permissions violation" in (await asyncio.wait_for(refused.get(), 5)).lower()
    finally:
        await client.close()


async def test_a_guest_hears_no_answers_of_others(company: Live) -> None:
    """A wildcard over all reply subjects gives him only what is nobody else's."""
    async with guest(company) as client, company.company.connect("gw-lab") as lab:
        heard_by_guest: list[str] = []

        async def note(message: Any) -> None:
            heard_by_guest.append(message.subject)

        await client.subscribe("_INBOX.>", cb=note)
        await client.flush()
        await lab.publish("acme.events.aaaaaaaaaaaaaaaaaaaaaaaaaa.cto-athena", b"{}", msg_id="cto-athena-x")
        await client.flush()
        assert heard_by_guest == []


async def test_guests_are_off_unless_the_org_file_turns_them_on(bus_only: Live) -> None:
    """No stream, no key: the server does not know them."""
    assert guest_subjects(bus_only.org) == ()
    with pytest.raises(NotFound, match="no key 'guest'"):
        bus_only.company.identity("guest")
    client = Client()
    try:
        with pytest.raises((nats.errors.Error, OSError)):
            await client.connect(bus_only.org.url, allow_reconnect=False, error_cb=_quiet)
    finally:
        await client.close()  # a connect that fails leaves its socket open


@pytest.mark.parametrize("company_id", ["komodo-ai", "genbrain", "agent-hub"])
def test_a_company_of_the_documents_own_name_shares_no_subject_with_its_guests(company_id: str) -> None:
    """No subject of the guests is one of the company's channels, where a guest would speak as somebody."""
    org = parse({**org_data([4222, 18789, 18909]), "company": company_id})
    shapes = [subject.split(".") for subject in guest_subjects(org)]
    own = [["all"], ["team"], ["learning"], ["presence"], ["dm", "*"], ["ctl", "*"], ["end", "*"], ["events", "*"]]
    for shape in (one for one in shapes if one[0] == company_id):
        assert not any(len(shape) == len(channel) + 2 and shape[1] == channel[0] for channel in own)


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[1, 2]", b'{"priority": {"a": 1}, "sla": 5, "type": ["x"]}',
                                  b'{"sla": {"ack_within_seconds": -1}}', b"[" * 50_000, b'"x"' * 50_000])  # fmt: skip
def test_whatever_a_guest_sends_is_read_as_data(data: bytes) -> None:
    """Never an exception, always a text that fits."""
    words = read(an_org(), data, "dm")
    assert words.text
    assert len(words.text.encode()) <= 64 * 1024


def test_a_role_that_nobody_has_is_nowhere() -> None:
    """It is logged and dropped; it does not land at somebody else's."""
    assert place(an_org(), "genbrain.agents.qa.tasks") is None
    assert place(an_org(), "komodo-ai.dm.nobody") is None


def test_an_agent_may_be_called_operator() -> None:
    """As the published examples call theirs: the word is taken off only where nobody is called so."""
    data = org_data([4222, 18789, 18909])
    data["agents"][1]["id"] = "operator-cto"
    found = place(parse(data), "genbrain.agents.operator-cto.tasks")
    assert found is not None
    assert found.to == ("operator-cto",)


def an_org() -> Org:
    return parse(org_data([4222, 18789, 18909]))


async def _task_for(company: Live) -> Envelope | None:
    async with company.owner() as bus:
        found = await bus.next_message(TASKS, "acme.tasks.cto-athena.*.external")
        return decode(found.data, EXTERNAL) if found else None


async def _mails(company: Live, count: int) -> bool:
    async with company.owner() as bus:
        return len(await bus.stored(INBOX, "acme.dm.cto-athena.external")) == count


async def _quiet(_error: Exception) -> None:
    pass


def test_the_steward_reads_guests_and_gateways_do_not() -> None:
    """The guests' words are translated in one place."""
    from clawbus.provision.consumers import consumer_configs

    readers = {config["durable_name"] for stream, config in consumer_configs(an_org()) if stream == "GUEST"}
    assert readers == {"steward"}
    assert gateway_reader("lab") not in readers
