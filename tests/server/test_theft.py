"""Somebody has stolen the credentials file of one gateway: exactly what docs/security.md says that he can do then."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clawbus.bus.identity import agent_key
from clawbus.bus.jwt import claims_of, encode, read_creds
from clawbus.bus.signing import HEADER, Signer
from clawbus.ops.enrol.registrar_process import Answers
from clawbus.provision.authority import Authority
from clawbus.provision.config import resolver_dir
from clawbus.provision.permissions import allowed, grants
from clawbus.wire.channels import BCAST, CTL, DEAD, INBOX, TASKS
from clawbus.wire.envelope import Envelope
from clawbus.wire.subjects import PRIORITIES, Subjects, new_message_id, new_task_id
from tests.company import ROOT, Live, free_ports, live, until
from tests.server.office import alert_of, steward
from tests.server.test_permissions import TOML
from tests.trying import Trying, trying

pytestmark = pytest.mark.timeout(120)

ACME = Subjects("acme")
PAGE = ROOT / "docs" / "security.md"
PLACES = {
    "agent": ["cto", "dev"],
    "queue": [f"{group}-{priority}" for group in ("gw-lab", "grp-build") for priority in PRIORITIES],
}
ALARM_S = 5.0


@pytest.fixture
async def firm(tmp_path: Path) -> AsyncIterator[Live]:
    async with live(tmp_path, None, toml=TOML.format(ports=free_ports(3))) as company:
        yield company


@contextlib.asynccontextmanager
async def thief(firm: Live, folder: Path) -> AsyncIterator[Trying]:
    """With a copy of the file, and nothing else of the company."""
    creds = firm.company.identity("gw-lab").creds_file
    assert creds is not None
    copy = folder / "stolen.creds"
    copy.write_bytes(creds.read_bytes())
    async with trying(firm.org.url, copy) as one:
        yield one


def printed() -> tuple[set[str], set[str]]:
    """What the page says, for gw-lab of acme: the subjects to publish and to subscribe to."""
    (block,) = re.findall(r"## What a gateway's credentials file can do\n.*?```\n(.*?)```", PAGE.read_text(), re.DOTALL)
    publish: set[str] = set()
    subscribe: set[str] = set()
    for line in block.splitlines():
        words = line.replace("<company>", "acme").replace("<gateway>", "lab").split()
        if words[0] == "publish":
            publish |= filled(words[1])
        elif words[0] == "hear":
            subscribe |= filled(words[1])
        elif words[0] == "read":
            publish |= {f"HUB.STREAM.MSG.GET.{stream}" for stream in words[1:]}
        else:
            assert words[:2] == ["pull,", "ack"]
            for durable in filled(words[3]):
                publish |= {f"HUB.CONSUMER.{verb}.{words[2]}.{durable}" for verb in ("MSG.NEXT", "INFO")}
                publish.add(f"$JS.ACK.{words[2]}.{durable}.>")
    return publish, subscribe


def filled(subject: str) -> set[str]:
    return {
        subject.replace("<agent>", agent).replace("<queue>", queue)
        for agent, queue in itertools.product(PLACES["agent"], PLACES["queue"])
    }


# -- what it can do ----------------------------------------------------------------------------------------------------


async def test_the_list_on_the_page_is_the_servers(firm: Live) -> None:
    """What the server holds for the role, filled with what the file says: the page's list, no more and no less."""
    publish, subscribe = printed()
    may = allowed(firm.org, grants(firm.org)["gw-lab"])
    assert ({*may.publish}, {*may.subscribe}) == (publish, subscribe)
    authority = Authority(firm.home)
    token = (resolver_dir(firm.home) / f"{authority.key('AGENTS').public_key}.jwt").read_text()
    (signer,) = claims_of(token)["nats"]["signing_keys"]
    template = signer["template"]
    assert len(template["pub"]["allow"]) == len({re.sub(r"\b(cto|dev)\b", "A", _one_queue(one)) for one in publish})
    assert template["sub"]["allow"] == [one.replace("gw-lab", "{{name()}}") for one in sorted(subscribe)]
    assert set(template) == {"pub", "sub", "subs", "data", "payload"}


def _one_queue(subject: str) -> str:
    return re.sub(r"(gw-lab|grp-build)-(critical|high|medium|low)", "Q", subject)


async def test_everything_on_the_page_can_be_done(firm: Live, tmp_path: Path) -> None:
    """Each call is let pass. That nothing else is, `test_permissions` tries."""
    publish, subscribe = printed()
    async with thief(firm, tmp_path) as one:
        for subject in sorted(publish):
            assert await one.may_publish(subject.replace("*", "x").replace(">", "1.1.1.1.0")), subject
        for subject in subscribe:
            assert await one.may_hear(subject)


async def test_the_file_holds_one_seed_and_one_name(firm: Live) -> None:
    """Not those of its agents' signatures, nor any that could sign credentials; it ends within a week."""
    me = firm.company.identity("gw-lab")
    text = (me.creds_file or Path()).read_text()
    assert re.findall(r"\bS[A-Z2-7]{57}\b", text) == [me.seed_file.read_text().strip()]
    others = [path for path in firm.home.root.rglob("*.nk") if path != me.seed_file]
    assert {firm.home.key(agent_key("cto")), firm.home.key(agent_key("dev"))} <= {*others}
    assert not [path for path in others if path.read_text().strip() in text]
    said = claims_of(read_creds(me.creds_file or Path()))
    assert (said["sub"], said["name"]) == (me.public_key, "gw-lab")
    assert [tag for tag in said["nats"]["tags"] if tag.startswith("agent:")] == ["agent:cto", "agent:dev"]
    assert 0 < said["exp"] - said["iat"] <= 7 * 86_400


async def test_he_reads_and_takes_what_waits_for_these_agents_only(firm: Live, tmp_path: Path) -> None:
    """Mail and tasks of its agents come when he pulls, and are gone when he acknowledges; of others nothing comes."""
    async with firm.owner() as owner:
        for to in ("cto", "ceo"):
            await owner.publish(f"acme.dm.{to}.owner", to.encode(), msg_id=new_message_id("owner"))
            await owner.publish(f"acme.tasks.{to}.high.owner", to.encode(), msg_id=new_message_id("owner"))
        pull = {"batch": 1, "no_wait": True}
        async with thief(firm, tmp_path) as one:
            assert await one.ask("HUB.CONSUMER.MSG.NEXT.INBOX.gw-lab", pull, "_INBOX.gw-lab.a") == b"cto"
            assert await one.ask("HUB.CONSUMER.MSG.NEXT.TASKS.gw-lab-high", pull, "_INBOX.gw-lab.b") == b"cto"
            assert await one.ask("HUB.CONSUMER.MSG.NEXT.INBOX.gw-hq", pull, "_INBOX.gw-lab.c") is None
            assert await one.ask("HUB.CONSUMER.MSG.NEXT.TASKS.gw-hq-high", pull, "_INBOX.gw-lab.d") is None
            assert await one.ask("HUB.STREAM.MSG.GET.INBOX", {"seq": 1}, "_INBOX.gw-lab.e") is None
            events = await one.ask("HUB.STREAM.MSG.GET.KEYS", {"seq": 1}, "_INBOX.gw-lab.f")
            assert events is not None
            assert "message" in json.loads(events)
            for held in [heard for heard in one.heard if heard.data == b"cto"]:
                assert await one.may_publish(held.reply, b"+ACK")

        async def gone() -> bool:
            return not await owner.stored(INBOX, "acme.dm.cto.*") and not await owner.stored(TASKS, "acme.tasks.cto.>")

        await until(gone, "the acknowledged")
        assert len(await owner.stored(INBOX, "acme.dm.ceo.*")) == 1
        for stream in (CTL, BCAST):
            assert await owner.stored(stream, "acme.>") == []


async def test_what_he_says_is_believed_by_nobody_and_alarmed(firm: Live, tmp_path: Path) -> None:
    """Mail, a task, an end, an event under its agents' names: without their keys it is a forgery. A person hears in 5 s."""
    task = new_task_id()
    mail = Envelope.model_validate(
        {"id": new_message_id("cto"), "type": "message", "from": "cto", "to": "ceo", "body": "rm -rf"}
    )
    mine = Signer("acme", "cto", firm.company.identity("gw-lab").seed_file)
    said = {
        "acme.dm.ceo.cto": mail,
        f"acme.end.{task}.cto": mail.model_copy(update={"type": "result", "task_id": task, "status": "done"}),
        "acme.all.dev": mail.model_copy(update={"sender": "dev", "to": "all"}),
    }
    async with steward(firm) as watching, thief(firm, tmp_path) as one:
        await firm.start("node-hq")
        began = time.monotonic()
        for subject, words in said.items():
            for signed in ({}, {HEADER: mine.header(subject, words.encode(), "x")}):  # with the one key that he has
                headers = {"Nats-Msg-Id": new_message_id("cto"), **signed}
                assert await one.may_publish(subject, words.encode(), headers=headers)
        for name in ("cto", "dev"):
            await alert_of(firm, "forged", name, True)
        assert time.monotonic() - began < ALARM_S

        async def buried() -> bool:
            async with firm.owner() as owner:
                letters = [json.loads(one.data) for one in await owner.stored(DEAD, ACME.everything("dead"))]
                return [letter.get("subject") for letter in letters].count("acme.dm.ceo.cto") == 2

        await until(buried, "both among the dead letters")
        inbox = await firm.tool("hq", "ceo", "nats_inbox")
        assert inbox["data"]["messages"] == []
        assert sum(watching.context.bus.verifier.refused.values()) >= 4


async def test_he_cannot_make_himself_newer_or_wider_credentials(firm: Live, tmp_path: Path) -> None:
    """The registrar gives nothing for a key that lives on the company's own machine; what he signs himself is refused."""
    me = firm.company.identity("gw-lab")
    question = json.dumps({"key": me.public_key}).encode()

    async def nothing() -> None:
        return None

    async with firm.company.connect("provisioner") as bus, thief(firm, tmp_path) as one:
        answering = asyncio.create_task(Answers(firm.company, bus, nothing).run())
        try:
            await bus.flush()
            answers = await one.ask("acme.creds.gw-lab", question, "_INBOX.gw-lab.a")
            assert answers is not None
            assert "not the key" in json.loads(answers)["error"]
            assert await one.ask("acme.creds.gw-hq", question, "_INBOX.gw-lab.b", wait_s=1) is None
            theirs = json.dumps({"keys": {agent_key("cto"): me.public_key}}).encode()
            assert await one.ask("acme.creds.gw-lab", theirs, "_INBOX.gw-lab.c") == b"{}"
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
    own = encode(me.public_key, "gw-lab", {"type": "user", "pub": {}, "sub": {}}, me, iat=1)
    assert claims_of(own)["iss"] == me.public_key  # that such a JWT opens nothing: test_attacks
    async with firm.owner() as owner:
        kept = json.loads((await owner.stored("KEYS", "acme.keys.cto.provisioner"))[0].data)
    assert kept["key"] == firm.company.signers("gw-lab")["cto"].public_key
