"""Signed messages on a real nats-server: what is not its sender's is shown to nobody, counted, and alarmed."""

from __future__ import annotations

import ast
import asyncio
import base64
import contextlib
import dataclasses
import json
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import clawbus as clawbus_package
from clawbus import Task, serve
from clawbus.bus import Bus, Stored, task_durable
from clawbus.bus.identity import load_or_create
from clawbus.bus.server_clock import ServerClock
from clawbus.bus.signing import HEADER, Signer
from clawbus.errors import Unverified
from clawbus.node.ledger import Ledger, Outgoing, Run
from clawbus.node.mailbox import Outbox
from clawbus.node.worker.result_sender import ResultSender
from clawbus.org import EXTERNAL, STEWARD
from clawbus.provision.plan import publish_keys
from clawbus.tasks import NewTask, make_task
from clawbus.tasks.budget_account import spend_of
from clawbus.wire.channels import ALERTS, DEAD, INBOX, KEYS, TASKS
from clawbus.wire.envelope import Envelope, now
from clawbus.wire.events import Event
from clawbus.wire.subjects import Subjects, new_message_id, new_task_id
from tests.company import Live, free_ports, live, until
from tests.server.office import alert_of, clawbus, mail_of, steward
from tests.syntax import parsed

TOML = """
company = "acme"
bus.port = {ports[0]}
[[gateways]]
id = "hq"
port = {ports[1]}
[[gateways]]
id = "shop"
kind = "program"
[[agents]]
id = "ceo"
role = "role-ceo"
gateway = "hq"
[[agents]]
id = "ops"
role = "role-devops"
reports_to = "ceo"
gateway = "hq"
[[agents]]
id = "dev"
role = "role-cto"
reports_to = "ceo"
gateway = "shop"
[[humans]]
id = "owner"
"""
ACME = Subjects("acme")
ALARM_S = 5.0
KEY_NAMES = {"ops": "agent-ops", "owner": "me-owner"}


@pytest.fixture
async def firm(tmp_path: Path) -> AsyncIterator[Live]:
    async with live(tmp_path, None, toml=TOML.format(ports=free_ports(2))) as company:
        yield company


@contextlib.asynccontextmanager
async def intruder(firm: Live) -> AsyncIterator[Bus]:
    """A connection that may publish under any name, and has nobody's key: the server's own pin is not in its way."""
    async with firm.company.connect("provisioner") as bus:
        bus.signers = {}
        yield bus


@contextlib.asynccontextmanager
async def at_work(firm: Live) -> AsyncIterator[list[str]]:
    """The program of `dev`; yields the texts of the tasks that have reached it."""
    begun: list[str] = []

    async def handler(task: Task) -> str:
        begun.append(task.text)
        return "done"

    serving = asyncio.create_task(serve(firm.org_file, "shop", {"dev": handler}))
    try:
        yield begun
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


def signer(firm: Live, who: str) -> Signer:
    return firm.company.signers("gw-shop" if who == "dev" else "gw-hq")[who]


def forgeries(firm: Live, subject: str, message: Envelope | Event) -> Iterator[tuple[str, bytes, str, dict[str, str]]]:
    """(kind, payload, message id, headers): ways to say something under the name of `message`'s sender."""
    mine, other = signer(firm, message.sender), signer(firm, "dev" if message.sender != "dev" else "ops")
    data, first = message.encode(), message.id
    elsewhere = ".".join([*subject.split(".")[:-2], "another", message.sender])

    def again() -> tuple[bytes, str]:
        """The same message under an id of its own: the server keeps one of each."""
        new_id = new_message_id(message.sender)
        return json.dumps({**json.loads(data), "id": new_id}).encode(), new_id

    yield "unsigned", data, first, {}
    body, one = again()
    yield "forged", body, one, {HEADER: other.header(subject, body, one)}
    body, one = again()
    yield "forged", body, one, {HEADER: mine.header(subject, b"something else", one)}
    body, one = again()
    yield "forged", body, one, {HEADER: mine.header(subject, body, one).replace('"v":1', '"v":2')}
    body, one = again()
    yield (
        "forged",
        body,
        one,
        {HEADER: Signer("other", message.sender, mine_file(firm, message.sender)).header(subject, body, one)},
    )
    body, one = again()
    yield "re-addressed", body, one, {HEADER: mine.header(elsewhere, body, one)}
    body, one = again()
    yield "replayed", body, one, {HEADER: mine.header(subject, body, first)}
    body, one = again()
    yield "replayed", data, one, {HEADER: mine.header(subject, data, one)}


def mine_file(firm: Live, who: str) -> Path:
    return firm.home.key(f"agent-{who}")


def said(sender: str, to: str, text: str, kind: str = "message", **more: Any) -> Envelope:
    return Envelope.model_validate(
        {"id": new_message_id(sender), "type": kind, "from": sender, "to": to, "body": text, **more}
    )


async def letters(firm: Live) -> list[dict[str, Any]]:
    async with firm.owner() as bus:
        return [json.loads(one.data) for one in await bus.stored(DEAD, ACME.everything("dead"))]


async def kinds_of(firm: Live, count: int) -> list[str]:
    """The kinds that the dead letters name, as soon as there are so many."""

    async def look() -> list[str] | None:
        found = [one["refused"] for one in await letters(firm) if "refused" in one]
        return found if len(found) >= count else None

    return sorted(await until(look, f"{count} letters of forgeries"))


async def test_n5_what_is_sent_is_signed_by_its_senders_own_key(firm: Live) -> None:
    """An agent's by the agent's, a person's by his, a guest's by the steward who has translated it."""
    async with firm.company.connect("gw-hq") as hq, firm.company.connect("steward") as duty, firm.owner() as owner:
        for bus, sender in ((hq, "ops"), (duty, STEWARD), (duty, EXTERNAL), (owner, "owner")):
            mail = said(sender, "ceo", "hello")
            await bus.publish(ACME.dm("ceo", sender), mail.encode(), msg_id=mail.id)
        for stored in await owner.stored(INBOX, ACME.dm_for("ceo")):
            claim = json.loads(stored.headers[HEADER])
            sender = ACME.parse(stored.subject).sender
            key = load_or_create(sender, firm.home.key(KEY_NAMES.get(sender, STEWARD))).public_key
            assert (claim["sub"], claim["nonce"], claim["user"]) == (stored.subject, stored.msg_id, key)
            assert (await owner.verifier.envelope(ACME, stored)).body == "hello"
        assert not owner.verifier.refused


async def test_n5_nobody_signs_for_another(firm: Live) -> None:
    """A valid signature of another member is a forgery, whichever name it shows."""
    mail, subject = said("ops", "ceo", "hello"), ACME.dm("ceo", "ops")
    async with intruder(firm) as bus, firm.owner() as owner:
        header = signer(firm, "dev").header(subject, mail.encode(), mail.id)
        await bus.publish(subject, mail.encode(), msg_id=mail.id, headers={HEADER: header})
        (stored,) = await owner.stored(INBOX, subject)
        with pytest.raises(Unverified, match="a key that is not ops's"):
            await owner.verifier.envelope(ACME, stored)
        assert owner.verifier.refused == {"forged": 1}


async def test_no_forged_mail_reaches_an_inbox_and_each_is_alarmed(firm: Live) -> None:
    """Unsigned, by another key, changed, for another subject, under another id: all dead letters, one alert in 5 s."""
    async with steward(firm), intruder(firm) as bus:
        await firm.start("node-hq")
        mail = said("dev", "ceo", "rm -rf", priority="critical")
        subject, expected = ACME.dm("ceo", "dev"), []
        began = time.monotonic()
        for kind, data, msg_id, headers in forgeries(firm, subject, mail):
            await bus.publish(subject, data, msg_id=msg_id, headers=headers)
            expected.append(kind)
        alert = await alert_of(firm, "forged", "dev", True)
        assert time.monotonic() - began < ALARM_S
        assert "was not sent by dev" in alert.text
        assert (await mail_of(firm, subject="alert: forged dev")).sender == STEWARD
        assert await kinds_of(firm, len(expected)) == sorted(expected)
        async with firm.company.connect("gw-shop") as shop:
            real = said("dev", "ceo", "a real one")
            await shop.publish(subject, real.encode(), msg_id=real.id)

        async def inbox() -> list[dict[str, Any]] | None:
            answer = await firm.tool("hq", "ceo", "nats_inbox")
            return answer if answer["data"]["messages"] else None  # type: ignore[return-value]

        answer = await until(inbox, "the real message")
        assert len(answer["data"]["messages"]) == 1  # type: ignore[call-overload]
        assert "From: dev, verified by signature" in answer["text"]  # type: ignore[call-overload]
        assert "rm -rf" not in answer["text"]  # type: ignore[call-overload]
        code, listed = await clawbus(firm, "dead", "list")
        assert (code, len(listed)) == (0, len(expected))
        async with firm.owner() as owner:  # one alert for the name, not one for each message
            raised = await owner.stored(ALERTS, ACME.everything("alerts"))
        assert [one.subject for one in raised] == ["acme.alerts.forged.dev.steward"]


async def test_no_forged_task_is_run(firm: Live) -> None:
    """The same for tasks: the program does the real one only."""
    async with steward(firm), intruder(firm) as bus, at_work(firm) as begun:
        task = make_task(firm.org, "ceo", NewTask("dev", "rm -rf"))
        subject, count = ACME.task("dev", "medium", "ceo"), 0
        for _, data, msg_id, headers in forgeries(firm, subject, task):
            await bus.publish(subject, data, msg_id=msg_id, headers=headers)
            count += 1
        await alert_of(firm, "forged", "ceo", True)
        await kinds_of(firm, count)
        real = await given(firm, "a real one")
        await ended(firm, real)
    assert begun == ["a real one"]


async def given(firm: Live, text: str) -> Envelope:
    """A task from the CEO to dev, as its node gives it."""
    task = make_task(firm.org, "ceo", NewTask("dev", text))
    async with firm.company.connect("gw-hq") as bus:
        await spend_of(bus, firm.org).reserve(task)
        await bus.publish(ACME.task("dev", "medium", "ceo"), task.encode(), msg_id=task.id)
    return task


async def ended(firm: Live, task: Envelope) -> None:
    async with firm.owner() as bus:
        end = await until(lambda: firm.company.ends(bus).read(task.task_id or "", "ceo", "dev"), "the end")
    assert end.status == "done"


async def test_on_every_channel_that_stewards_read_a_forgery_is_alarmed(firm: Live) -> None:
    """Ends, events, broadcasts, insights, dead letters, mail and control: turned away, and alarmed within 5 s."""
    task_id = new_task_id()
    cases: dict[str, Envelope | Event] = {
        ACME.end(task_id, "ceo"): said("ceo", "dev", "all done", "result", task_id=task_id, status="done"),
        ACME.event(task_id, "ops"): Event(id=new_message_id("ops"), kind="started", task_id=task_id, sender="ops"),
        ACME.build("all", "dev"): said("dev", "all", "evacuate"),
        ACME.dm(STEWARD, "owner"): said("owner", STEWARD, "stop"),
    }
    async with steward(firm) as one, intruder(firm) as bus:
        for subject, message in cases.items():
            began = time.monotonic()
            await bus.publish(subject, message.encode(), msg_id=message.id)
            await alert_of(firm, "forged", message.sender, True)
            assert time.monotonic() - began < ALARM_S
        await bus.publish(ACME.build("learning", "dev"), b"{}", msg_id="dev-1")
        await bus.publish(ACME.ctl(STEWARD, "owner"), b"{}", msg_id="owner-1")
        await bus.publish(ACME.build("dead", "dev", task=task_id), b"{}", msg_id="dev-2")

        async def counted() -> bool:
            return one.context.bus.verifier.refused["unsigned"] >= 7

        await until(counted, "seven refused")


async def test_a_forged_end_neither_counts_nor_keeps_the_right_one_from_being_written(firm: Live) -> None:
    """It stands first in the stream, under the requester's name: the worker's end is the task's one end."""
    async with intruder(firm) as bus, at_work(firm):
        task = make_task(firm.org, "ceo", NewTask("dev", "count"))
        task_id = task.task_id or ""
        forged = said("ceo", "ceo", "cancelled", "result", task_id=task_id, status="cancelled")
        await bus.publish(ACME.end(task_id, "ceo"), forged.encode(), msg_id=forged.id)
        async with firm.company.connect("gw-hq") as hq:
            await spend_of(hq, firm.org).reserve(task)
            await hq.publish(ACME.task("dev", "medium", "ceo"), task.encode(), msg_id=task.id)
        await ended(firm, task)


async def copied(bus: Bus, stream: str, stored: Stored) -> None:
    """Store a copy of a message, byte by byte, once the server's window for duplicates is over."""

    async def look() -> bool:
        headers = {HEADER: stored.headers[HEADER]}
        return not (await bus.publish(stored.subject, stored.data, msg_id=stored.msg_id, headers=headers)).duplicate

    await until(look, "the end of the window")


async def short_window(bus: Bus, stream: str) -> None:
    config = (await bus.api(f"STREAM.INFO.{stream}"))["config"]
    await bus.api(f"STREAM.UPDATE.{stream}", {**config, "duplicate_window": 100_000_000})


async def test_a_task_that_is_sent_again_is_ignored_and_counted(firm: Live, caplog: pytest.LogCaptureFixture) -> None:
    """A captured message with its valid signature, after the server has forgotten its id: it is not run again."""
    async with intruder(firm) as bus:
        await short_window(bus, TASKS)
        task = await given(firm, "pay 100")
        (captured,) = await bus.stored(TASKS, ACME.everything("tasks"))
        async with at_work(firm) as begun:
            await ended(firm, task)
            await until(lambda: empty(firm), "the empty queue")
            for _ in range(3):
                await copied(bus, TASKS, captured)
            await until(lambda: empty(firm), "the empty queue")
            real = await given(firm, "another")
            await ended(firm, real)
    assert begun == ["pay 100", "another"]
    assert sum("is a copy of" in one.message for one in caplog.records) == 3


async def empty(firm: Live) -> bool:
    async with firm.owner() as bus:
        return not await bus.stored(TASKS, ACME.everything("tasks"))


async def test_an_old_message_is_a_replay_however_well_it_is_signed(firm: Live) -> None:
    """What was signed more than a day ago by the server's clock is refused: no ledger needs to know it."""
    async with firm.owner() as bus:
        mail = said("owner", "ceo", "yesterday's news")
        await bus.publish(ACME.dm("ceo", "owner"), mail.encode(), msg_id=mail.id)
        (stored,) = await bus.stored(INBOX, ACME.dm_for("ceo"))
        await bus.verifier.check(stored)
        for days in (2, -2):
            late = dataclasses.replace(stored, at=stored.at + timedelta(days=days))
            with pytest.raises(Unverified, match="replayed: it was signed at"):
                await bus.verifier.check(late)
        assert bus.verifier.refused["replayed"] == 2


async def test_mail_that_is_sent_again_is_one_message_and_counted(firm: Live) -> None:
    """Read and acknowledged, it comes a second time: the inbox stays empty."""
    async with intruder(firm) as bus, firm.owner() as owner:
        await short_window(bus, INBOX)
        mail = said("owner", "ceo", "pay 100")
        await owner.publish(ACME.dm("ceo", "owner"), mail.encode(), msg_id=mail.id)
        (captured,) = await owner.stored(INBOX, ACME.dm_for("ceo"))
        await firm.start("node-hq")

        async def shown() -> str | None:
            messages = (await firm.tool("hq", "ceo", "nats_inbox"))["data"]["messages"]
            return messages[0]["messageId"] if messages else None

        number = await until(shown, "the message")
        assert (await firm.tool("hq", "ceo", "nats_inbox", action="ack", messageId=number))["ok"]
        await copied(bus, INBOX, captured)

        async def gone() -> bool:
            return not await owner.stored(INBOX, ACME.dm_for("ceo"))

        await until(gone, "the empty stream")
        assert (await firm.tool("hq", "ceo", "nats_inbox"))["data"]["messages"] == []
        assert "is a copy of" in firm.home.log("node-hq").read_text()


async def test_a_task_that_has_expired_is_not_run(firm: Live) -> None:
    """By the server's clock: its end says that it was too late."""
    task = make_task(firm.org, "ceo", NewTask("dev", "too late")).model_copy(
        update={"expires_at": now() - timedelta(seconds=1)}
    )
    async with firm.company.connect("gw-hq") as bus:
        await spend_of(bus, firm.org).reserve(task)
        await bus.publish(ACME.task("dev", "medium", "ceo"), task.encode(), msg_id=task.id)
    async with at_work(firm) as begun, firm.owner() as bus:
        end = await until(lambda: firm.company.ends(bus).read(task.task_id or "", "ceo", "dev"), "the end")
    assert (end.status, begun) == ("timed_out", [])


async def test_an_id_that_another_has_used_first_does_not_hide_the_victims_task(firm: Live) -> None:
    """The server answers `duplicate` to the first try: the task goes out again under a new id, signed, and is done."""
    task = make_task(firm.org, "ceo", NewTask("dev", "the victim's"))
    async with firm.company.connect("gw-shop") as thief:
        theirs = task.model_copy(update={"sender": "dev", "to": "dev"})
        await thief.publish(ACME.task("dev", "low", "dev"), theirs.encode(), msg_id=task.id)
    async with firm.company.connect("gw-hq") as bus:
        await spend_of(bus, firm.org).reserve(task)
        with Ledger(firm.home.root / "victim.db") as ledger:
            outbox = Outbox(bus, ledger, ACME, None)
            assert await outbox.send(ACME.task("dev", "medium", "ceo"), task)
            assert (outbox.renamed, ledger.outbox.count()) == (1, 0)
            detail = {"seed": task.seed}
            event = Event(
                id=new_message_id("ceo"), kind="accepted", task_id=task.task_id or "", sender="ceo", detail=detail
            )
            outbox.later(ACME.event(task.task_id or "", "ceo"), event.id, event.encode())
            await outbox.drain()
            assert outbox.renamed == 1
    async with at_work(firm) as begun:
        await ended(firm, task)
    assert begun == ["the victim's"]


async def test_a_result_whose_id_another_has_used_reaches_who_had_asked(firm: Live) -> None:
    """Ends can be read by every node: whoever uses the id of one in INBOX first does not hide the result."""
    task = make_task(firm.org, "ceo", NewTask("dev", "x"))
    end = said("dev", "ceo", "42", "result", task_id=task.task_id, status="done")
    run = Run(task, "dev", "ended", "", 1, "", "", end)
    async with firm.company.connect("gw-hq") as thief, firm.company.connect("gw-shop") as bus, firm.owner() as owner:
        mail = said("ops", "ops", "mine")
        await thief.publish(ACME.dm("ops", "ops"), mail.encode(), msg_id=end.id)
        await ResultSender(bus, firm.org).tell(run, end, again=False)
        (stored,) = await owner.stored(INBOX, ACME.dm("ceo", "dev"))
        assert (await owner.verifier.envelope(ACME, stored)).body == "42"
        await ResultSender(bus, firm.org).tell(run, end, again=True)  # after a crash it may have been told
        assert len(await owner.stored(INBOX, ACME.dm("ceo", "dev"))) == 1


async def test_a_second_try_whose_ack_was_lost_is_not_renamed(firm: Live) -> None:
    """There `duplicate` says that the first try had arrived: sent under a new id it would be there twice."""
    mail = said("ceo", "dev", "once")
    async with firm.company.connect("gw-hq") as bus, firm.owner() as owner:
        await bus.publish(ACME.dm("dev", "ceo"), mail.encode(), msg_id=mail.id)
        with Ledger(firm.home.root / "second.db") as ledger:
            ledger.outbox.add(Outgoing(mail.id, ACME.dm("dev", "ceo"), mail.encode()))
            outbox = Outbox(bus, ledger, ACME, None)
            await outbox.drain()
            assert (outbox.renamed, ledger.outbox.count()) == (0, 0)
        assert len(await owner.stored(INBOX, ACME.dm_for("dev"))) == 1


async def test_a_redrive_gives_only_what_its_sender_has_signed(firm: Live) -> None:
    """A gateway that writes a dead letter cannot make the steward give a task that nobody had asked for."""
    task = make_task(firm.org, "ceo", NewTask("dev", "transfer everything"))
    task_id, dev = task.task_id or "", signer(firm, "dev")
    letter = {
        "v": 1,
        "reason": "x",
        "subject": ACME.task("dev", "medium", "ceo"),
        "envelope": json.loads(task.encode()),
    }
    raw = {"raw": base64.b64encode(task.encode()).decode(), "id": task.id, "subject": letter["subject"]}
    raw["header"] = dev.header(str(letter["subject"]), task.encode(), task.id)
    async with steward(firm), firm.company.connect("gw-shop") as shop:
        for signed in ({}, raw):
            subject = ACME.build("dead", "dev", task=task_id)
            await shop.publish(subject, json.dumps({**letter, "signed": signed}).encode(), msg_id=new_message_id("dev"))
        await alert_of(firm, "dead", task_id, True)
        code, _ = await clawbus(firm, "dead", "redrive", task_id)
        assert code == 5
        mail = await mail_of(firm, subject="not redriven")
        assert "the message is not there as it was signed" in mail.body
        assert await empty(firm)


async def test_a_key_that_counts_no_more_counts_for_what_was_said_before(firm: Live) -> None:
    """A member whose key is lost gets another; the record does not change, and the old key says nothing new."""
    old = signer(firm, "ops")
    async with firm.owner() as owner, firm.company.connect("provisioner") as provisioner, intruder(firm) as bus:
        before = said("ops", "ceo", "before")
        subject = ACME.dm("ceo", "ops")
        header = {HEADER: old.header(subject, before.encode(), before.id)}
        await bus.publish(subject, before.encode(), msg_id=before.id, headers=header)
        mine_file(firm, "ops").unlink()
        await publish_keys(provisioner, firm.org, firm.home)
        after = said("ops", "ceo", "after")
        header = {HEADER: old.header(subject, after.encode(), after.id)}
        await bus.publish(subject, after.encode(), msg_id=after.id, headers=header)
        first, second = await owner.stored(INBOX, ACME.dm_for("ceo"))
        assert (await owner.verifier.envelope(ACME, first)).body == "before"
        with pytest.raises(Unverified, match="not ops's"):
            await owner.verifier.envelope(ACME, second)
        async with firm.company.connect("gw-hq") as hq:
            new = said("ops", "ceo", "with the new key")
            await hq.publish(subject, new.encode(), msg_id=new.id)
            third = (await owner.stored(INBOX, ACME.dm_for("ceo")))[-1]
            fresh = hq.verifier
            assert (await fresh.envelope(ACME, third)).body == "with the new key"


async def test_who_has_left_signs_nothing_any_more(firm: Live) -> None:
    """Its key is taken back, and its file is gone."""
    org = firm.org.model_copy(update={"agents": tuple(one for one in firm.org.agents if one.id != "ops")})
    async with firm.company.connect("provisioner") as provisioner:
        await publish_keys(provisioner, org, firm.home)
        stored = await provisioner.next_message(KEYS, ACME.build("keys", "provisioner", member="ops"))
    assert stored is not None
    assert json.loads(stored.data)["key"] is None
    assert not mine_file(firm, "ops").exists()


async def test_nothing_is_signed_here_for_an_agent_of_another_machine(firm: Live) -> None:
    """Only its public key is here: no private one is made beside it."""
    seed = mine_file(firm, "dev")
    seed.with_suffix(".pub").write_text(f"{signer(firm, 'dev').public_key}\n")
    seed.unlink()
    assert firm.company.signers("gw-shop") == {}
    assert not seed.exists()


async def test_a_machine_whose_clock_is_an_hour_off_expires_nothing(
    firm: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether a task is over is asked of the server's clock, once a minute."""
    async with firm.company.connect("gw-shop") as bus:
        for off in (timedelta(hours=1), timedelta(hours=-1)):
            monkeypatch.setattr("clawbus.bus.server_clock.now", lambda off=off: now() + off)
            clock = ServerClock(bus, TASKS, task_durable("shop", "medium"))
            assert not await clock.has_passed(now() + timedelta(seconds=30))
            assert await clock.has_passed(now() - timedelta(seconds=30))


def test_every_reader_asks_the_verifier_before_it_decodes() -> None:
    """Envelopes and events are decoded where they are verified, and where that was done before, by name."""
    allowed = {"bus/verifier.py", "client/replay.py", "client/watch.py", "steward/duties/redrive.py"}
    root = Path(clawbus_package.__file__).parent
    found = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ImportFrom) and {"decode", "decode_event"} & {one.name for one in node.names}
    }
    assert found == allowed
    for name in allowed:
        assert "verifier.check(" in (root / name).read_text() or name == "bus/verifier.py"
