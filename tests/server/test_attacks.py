"""The attacks of the NATS research, tried on a real server with real credentials: refused, or without effect.

What is refused is counted and alarmed within 5 s; what the server lets pass reaches no stream of another's. Which calls
each key may make at all is the table of `test_permissions`; forged and replayed messages are in `test_signed`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nkeys
import pytest

from clawbus.bus import Bus, Delivery, fetch_now
from clawbus.bus.identity import load_or_create
from clawbus.bus.jwt import claims_of, encode, read_creds, write_creds
from clawbus.client.company import Company
from clawbus.errors import ClawbusError, NotFound
from clawbus.org import parse
from clawbus.provision import permission_probe as forbidden
from clawbus.provision.authority import Authority
from clawbus.provision.credentials import mint
from clawbus.provision.external_account import write_account
from clawbus.provision.permissions import grants
from clawbus.provision.server import find_server
from clawbus.settings import Home
from clawbus.steward.duties.server_refusals import ServerRefusals
from clawbus.steward.steward import Steward
from clawbus.tasks.guests import MAX_WAIT_S
from clawbus.wire.channels import STREAMS
from clawbus.wire.subjects import Subjects, new_task_id
from tests.company import Live, free_ports, live, until
from tests.server.office import alert_of
from tests.server.test_permissions import KEYS, TOML
from tests.trying import Trying, TurnedAway, trying

pytestmark = pytest.mark.timeout(120)

ACME = Subjects("acme")
ALARM_S = 5.0
TASK = new_task_id()
VICTIMS = ("acme.dm.ceo.auditor", "acme.tasks.ceo.critical.auditor", "acme.ctl.ceo.auditor", "acme.all.auditor",
           f"acme.end.{TASK}.ceo", f"acme.events.{TASK}.auditor", "acme.state.all.auditor", "acme.keys.ceo.provisioner",
           "acme.alerts.lag.ceo.provisioner", f"acme.dead.{TASK}.ceo", f"acme.spend.{TASK}.ceo",
           "acme.timers.due.lag.ceo.provisioner", "acme.learning.auditor")  # fmt: skip
"""Subjects on which none of the attackers may speak, on every stream but ART."""
ME = {"gw-lab": "cto", "me-owner": "owner", "steward": "steward"}
READER = {"gw-lab": "gw-lab", "me-owner": "me-owner", "steward": "steward"}


@pytest.fixture
async def firm(tmp_path: Path) -> AsyncIterator[Live]:
    async with live(tmp_path, None, toml=TOML.format(ports=free_ports(3))) as company:
        yield company


@contextlib.asynccontextmanager
async def stewarded(firm: Live) -> AsyncIterator[Steward]:
    async with firm.company.connect("steward") as bus:
        one = Steward(firm.org, bus, firm.org_file.parent)
        running = asyncio.create_task(one.run())
        try:
            yield one
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@contextlib.asynccontextmanager
async def thief(firm: Live, key: str) -> AsyncIterator[Trying]:
    async with trying(firm.org.url, firm.company.identity(key).creds_file) as one:
        yield one


async def contents(bus: Bus) -> dict[str, int]:
    """Subject -> number of messages, over all streams; and the last number of KEYS and STATE, which keep one each."""
    found: dict[str, int] = {}
    for stream in STREAMS:
        state = (await bus.api(f"STREAM.INFO.{stream.name}", {"subjects_filter": ">"}))["state"]
        found |= state.get("subjects") or {}
        if stream.per_subject == 1:
            found[stream.name] = state["last_seq"]
    return found


async def settled(bus: Bus, one: Trying) -> dict[str, int]:
    """The streams once all that was sent has been worked on: an own message that comes behind it is there."""
    await one.answered()
    before: dict[str, int] = {}
    while (now := await contents(bus)) != before:
        before = now
        await asyncio.sleep(0.15)  # what the server does on the side has no event
    return now


# -- answers that are aimed at others ----------------------------------------------------------------------------------


def answered_calls(key: str) -> list[tuple[str, bytes]]:
    """Every kind of call of a key that the server answers: with a receipt, a configuration, stored messages."""
    if key == "guest":
        query = json.dumps({"type": "query", "question": "x", "reply_timeout_seconds": 1}).encode()
        return [("genbrain.agents.nobody.inbox", query), ("komodo-ai.all", b"x")]
    me, reader = ME[key], READER[key]
    pull = json.dumps({"batch": 1000, "no_wait": True}).encode()
    calls = [
        (f"acme.events.{TASK}.{me}", b"{}"),
        (f"acme.dm.{me}.{me}", b"x"),
        (f"HUB.CONSUMER.INFO.INBOX.{reader}", b""),
        (f"HUB.CONSUMER.MSG.NEXT.INBOX.{reader}", pull),
        ("HUB.STREAM.MSG.GET.EVENTS", b'{"seq":1}'),
        (f"acme.creds.{key}", b"{}"),
        (f"$JS.ACK.INBOX.{reader}.1.1.1.1.0", b"+NXT 1000"),
        (f"acme.presence.{me}", b"{}"),
        (f"acme.roll.{me}", b"{}"),
    ]
    if key != "gw-lab":
        last = json.dumps({"last_by_subj": f"acme.events.{TASK}.{me}"}).encode()
        batch = json.dumps({"seq": 1, "next_by_subj": f"acme.events.{TASK}.{me}", "batch": 1000}).encode()
        calls += [("HUB.DIRECT.GET.EVENTS", last), ("HUB.DIRECT.GET.EVENTS", batch), ("HUB.STREAM.INFO.EVENTS", b"")]
    return calls + ([("HUB.STREAM.PURGE.DEAD", b'{"filter":"acme.dead.x.steward"}')] if key == "steward" else [])


@pytest.mark.parametrize("key", [key for key in KEYS if key != "provisioner"])
async def test_no_answer_of_the_server_lands_on_anothers_subject(firm: Live, key: str) -> None:
    """Receipts, configurations, pulled messages (one had become 1,002), stored bytes as they are: none is stored there.

    Among the stored bytes is a public key in the form of KEYS, which would make its owner the CEO.
    """
    async with firm.company.connect("provisioner") as bus, thief(firm, key) as one:
        if key != "guest":
            mine, number = f"acme.events.{TASK}.{ME[key]}", {"v": 1, "key": "U" * 56, "former": []}
            assert await one.may_publish(mine, json.dumps(number).encode())
            assert await one.may_publish(f"acme.dm.{ME[key]}.{ME[key]}", json.dumps(number).encode())
        before = await settled(bus, one)
        for victim in VICTIMS:
            for subject, data in answered_calls(key):
                assert await one.may_publish(subject, data, reply=victim), subject
        after = await settled(bus, one)
        gained = {subject for subject, count in after.items() if count > before.get(subject, 0)}
    assert gained <= {subject for subject, _ in answered_calls(key)}, gained
    assert not gained & {*VICTIMS, "KEYS", "STATE"}


async def test_within_one_account_with_the_streams_it_would_land_there(firm: Live) -> None:
    """Why nobody but the provisioner lives where the streams are: with his key the same calls are stored as others'."""
    async with firm.company.connect("provisioner") as bus, thief(firm, "provisioner") as one:
        assert await one.may_publish("acme.dm.owner.owner", b"x", reply="acme.dm.ceo.auditor")
        assert (await settled(bus, one)).get("acme.dm.ceo.auditor") == 1


async def test_nobody_lives_where_the_streams_are(firm: Live) -> None:
    """Of all keys only the provisioner's is in that account."""
    hub = {name for name, grant in grants(firm.org).items() if grant.account == "HUB"}
    assert hub == {"provisioner"}
    for name in grants(firm.org):
        said = claims_of(read_creds(firm.company.identity(name).creds_file or Path()))
        account = Authority(firm.home).key(grants(firm.org)[name].account).public_key
        assert said["nats"]["issuer_account"] == account


@pytest.mark.parametrize("key", ["gw-lab", "me-owner", "steward"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Nats-Schedule": "@at 2020-01-01T00:00:00Z", "Nats-Schedule-Target": VICTIMS[1]},
        {"Nats-Schedule": "@every 1s", "Nats-Schedule-Target": VICTIMS[0]},
        {"Nats-Trace-Dest": VICTIMS[0]},
        {"Nats-Trace-Dest": VICTIMS[1], "Nats-Trace-Only": "true"},
        {"Nats-Rollup": "all"},
        {"Nats-Rollup": "sub"},
        {"Nats-TTL": "1s"},
        {"Nats-Incr": "+1"},
        {"Nats-Batch-Id": "x", "Nats-Batch-Sequence": "1", "Nats-Batch-Commit": "1"},
    ],
    ids="-".join,
)
async def test_no_header_makes_the_server_speak_or_forget(firm: Live, key: str, headers: dict[str, str]) -> None:
    """Schedules, traces, roll-ups, batches: nothing arrives on another's subject, and nothing that is stored goes."""
    async with firm.company.connect("provisioner") as bus, thief(firm, key) as one:
        for number in range(3):
            assert await one.may_publish(f"acme.events.{new_task_id()}.{ME[key]}", str(number).encode())
        before = await settled(bus, one)
        mine = [f"acme.events.{TASK}.{ME[key]}", f"acme.tasks.dev.low.{ME[key]}", f"acme.dm.dev.{ME[key]}"]
        for subject in mine:
            assert await one.may_publish(subject, b"x", headers=headers) == ("Nats-Trace-Dest" not in headers)
        after = await settled(bus, one)
    assert before.items() <= after.items()
    assert {*after} - {*before} <= {*mine}


async def test_a_leased_message_of_another_cannot_be_ended(firm: Live) -> None:
    """With the exact words of another's acknowledgement: refused, and the message is handed out again."""
    async with firm.company.connect("gw-hq") as hq, thief(firm, "gw-lab") as one:
        async with firm.owner() as owner:
            await owner.publish("acme.dm.ceo.owner", b"x", msg_id=f"owner-{new_task_id()}")
        (held,) = await _fetched(hq)
        assert not await one.may_publish(held.ack_subject, b"+TERM")
        await hq.nak(held.ack_subject)
        (again,) = await until(lambda: _fetched(hq), "the message again")
        assert again.stream_seq == held.stream_seq


async def _fetched(bus: Bus) -> list[Delivery]:
    return await fetch_now(bus, "INBOX", "gw-hq", 1)


def test_nobody_may_answer_whoever_asks(tmp_path: Path) -> None:
    """`allow_responses` lets a responder do what its list forbids: no list grants it, on our server or on another's."""
    org_file = tmp_path / "org.toml"
    org_file.write_text(TOML.format(ports=free_ports(3)))
    company = Company.open(org_file)
    written = json.dumps([claims_of(one) for one in Authority(company.home).accounts(company.org).values()])
    written += write_account(
        company.home, company.org, {name: company.identity(name) for name in grants(company.org)}
    ).read_text()
    written += json.dumps(
        [claims_of(read_creds(company.home.key(n).with_suffix(".creds"))) for n in grants(company.org)]
    )
    assert '"resp"' not in written
    assert "allow_responses" not in written
    assert '"pub": {}' in written


# -- credentials -------------------------------------------------------------------------------------------------------


def forged_credentials(firm: Live) -> dict[str, Path | None]:
    """Credentials that must open nothing, by what is wrong with them."""
    authority, me = Authority(firm.home), firm.company.identity("gw-lab")
    agents, role = authority.key("AGENTS").public_key, authority.key("gateway")
    nats: dict[str, Any] = {"type": "user", "pub": {}, "sub": {}, "tags": ["agent:cto"], "issuer_account": agents}
    all_of_it = {"pub": {"allow": [">"]}, "sub": {"allow": [">"]}, "subs": -1, "data": -1, "payload": -1}
    now = int(time.time())
    other = firm.home.dir("other")
    stranger = load_or_create("stranger", other / "account.nk", nkeys.PREFIX_BYTE_ACCOUNT)
    valid = {"iat": now, "exp": now + 600}
    tokens = {
        "expired": encode(me.public_key, "gw-lab", nats, role, iat=now - 20, exp=now - 10),
        "of nobody's account": encode(me.public_key, "gw-lab", nats, stranger, **valid),
        "signed by itself": encode(me.public_key, "gw-lab", nats, me, **valid),
        "signed by another role": encode(me.public_key, "gw-lab", nats, authority.key("person"), **valid),
        "in another account": encode(
            me.public_key, "gw-lab", nats | {"issuer_account": authority.key("HUB").public_key}, role, **valid
        ),
        "with more rights than its role": encode(me.public_key, "gw-lab", nats | all_of_it, role, **valid),
        "changed": _with_tag(read_creds(me.creds_file or Path()), "agent:ceo"),
    }
    found: dict[str, Path | None] = {"none": None}
    for number, (what, token) in enumerate(tokens.items()):
        found[what] = other / f"{number}.creds"
        write_creds(other / f"{number}.creds", token, me.seed_file)
    found["with another's seed"] = other / "seed.creds"
    write_creds(other / "seed.creds", read_creds(me.creds_file or Path()), _seed(other))
    return found


def _with_tag(token: str, tag: str) -> str:
    head, _, signature = token.split(".")
    said = claims_of(token)
    said["nats"]["tags"].append(tag)
    body = base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")
    return f"{head}.{body}.{signature}"


def _seed(folder: Path) -> Path:
    return load_or_create("another", folder / f"{os.urandom(4).hex()}.nk").seed_file


async def test_forged_credentials_open_nothing_and_are_alarmed(firm: Live) -> None:
    """Expired, foreign, self-signed, another role's, changed, without the seed, none at all: out, counted, alarmed."""
    async with stewarded(firm) as steward:
        cases = forged_credentials(firm)
        began = time.monotonic()
        for what, file in cases.items():
            with pytest.raises(TurnedAway):
                async with trying(firm.org.url, file):
                    pytest.fail(f"credentials {what} were let in")
        await alert_of(firm, "refused", "stranger", True)
        assert time.monotonic() - began < ALARM_S
        await until(lambda: _counted(steward, "stranger", len(cases)), "all of them counted", ALARM_S)


async def _counted(steward: Steward, key: str, count: int) -> bool:
    (duty,) = (one for one in steward.duties if isinstance(one, ServerRefusals))
    return duty.counted[key] >= count


@pytest.mark.parametrize("name", ["*", ">", "ceo.*", "a b", "gw-*", "", "CEO", "\u0441\u0435\u043e"])
def test_no_wildcard_becomes_a_name_or_a_tag(tmp_path: Path, name: str) -> None:
    """Under `{{tag(agent)}}` a tag `agent:*` would be everybody: such an id is refused when org.toml is read, and no
    credentials are made for a key of such a name."""
    home, agent = Home(tmp_path / ".clawbus"), {"gateway": "hq"}
    data: dict[str, Any] = {"company": "acme", "gateways": [{"id": "hq", "port": 18789}]}
    if name != "gw-*":
        with pytest.raises(ClawbusError):
            parse({**data, "agents": [{"id": name, **agent}]})
    fine = parse({**data, "agents": [{"id": "ceo", **agent}]})
    with pytest.raises(NotFound):
        mint(home, fine, name, load_or_create("x", home.key("x")).public_key, 60)
    assert not [tag for grant in grants(fine).values() for tag in grant.tag_list if set(tag) & set("*> ")]


async def test_a_gateway_of_many_agents_gets_in(tmp_path: Path) -> None:
    """A JWT that listed the rights of twenty agents is longer than what a client may say to begin with; tags are not."""
    agents = "".join(f'[[agents]]\nid = "agent-with-a-long-name-{n:03}"\ngateway = "hq"\n' for n in range(100))
    toml = f'company = "acme"\nbus.port = {free_ports(1)[0]}\n[[gateways]]\nid = "hq"\nport = 18789\n{agents}'
    async with live(tmp_path, None, toml=toml) as company, thief(company, "gw-hq") as one:
        assert await one.may_publish("acme.presence.agent-with-a-long-name-099")
        assert not await one.may_publish("acme.presence.agent-with-a-long-name-100")


def test_the_way_back_to_a_guest_stays_open_for_as_long_as_he_may_wait(tmp_path: Path) -> None:
    """The server forgets who asked after two minutes, unless the account says otherwise: an answer after 130 s was lost.

    With this, answers after 130, 300 and 590 s arrived on a real server. It takes both forms of the account.
    """
    org_file = tmp_path / "org.toml"
    org_file.write_text(TOML.format(ports=free_ports(3)))
    company = Company.open(org_file)
    staff = Authority(company.home).accounts(company.org)[Authority(company.home).key("STAFF").public_key]
    exports = {one["subject"]: one for one in claims_of(staff)["nats"]["exports"]}
    assert exports["genbrain.agents.*.inbox"]["response_threshold"] > MAX_WAIT_S * 1_000_000_000
    keys = {name: company.identity(name) for name in grants(company.org)}
    included = write_account(company.home, company.org, keys)
    config = tmp_path / "theirs.conf"
    config.write_text(
        f'listen: "127.0.0.1:4222"\njetstream: enabled\naccounts {{\ninclude "{included.relative_to(tmp_path)}"\n}}\n'
    )
    checked = subprocess.run([find_server().path, "-t", "-c", config], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert f'threshold: "{MAX_WAIT_S + 60}s"' in included.read_text()


# -- what is refused is heard of ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [key for key in KEYS if key != "provisioner"])
async def test_what_a_key_may_not_do_is_counted_and_alarmed(firm: Live, key: str) -> None:
    """Each of them: speaking as the CEO, reading another's mail, purging, listening to all. A person hears in 5 s."""
    calls = ["acme.dm.auditor.ceo", "HUB.STREAM.PURGE.TASKS", "HUB.CONSUMER.CREATE.INBOX.spy", "$SYS.REQ.SERVER.PING",
             "HUB.CONSUMER.MSG.NEXT.INBOX.gw-hq", "$JS.API.STREAM.LIST", "acme.keys.ceo.provisioner"]  # fmt: skip
    async with stewarded(firm) as steward, thief(firm, key) as one:
        began = time.monotonic()
        for subject in calls:
            assert not await one.may_publish(subject)
        assert not await one.may_hear("acme.>")
        alert = await alert_of(firm, "refused", key, True)
        assert time.monotonic() - began < ALARM_S
        assert f"The key {key} has tried to publish acme.dm.auditor.ceo" in alert.text
        await until(lambda: _counted(steward, key, len(calls) + 1), "all of them counted", ALARM_S)


async def test_what_is_allowed_and_what_the_doctor_tries_alarms_nobody(firm: Live) -> None:
    """A day's work has no refusal in it; the doctor's are known by what they are, not by their sender alone."""
    async with stewarded(firm) as steward:
        async with firm.company.connect("gw-lab", forbidden.LABEL) as bus:
            assert await forbidden.allowed_of_them(bus, firm.org, "gw-lab") == []
        tried = len(forbidden.forbidden_calls(firm.org, "gw-lab", "HUB"))
        await until(lambda: _counted(steward, "gw-lab", tried), "the doctor's counted", ALARM_S)
        async with firm.company.connect("gw-hq", forbidden.LABEL) as bus:
            await bus.tell("acme.dm.owner.auditor", b"x")
            await bus.flush()
        await alert_of(firm, "refused", "gw-hq", True)
        assert [one.key for one in await steward.context.alerts.raised("refused")] == ["gw-hq"]
