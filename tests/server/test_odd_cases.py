"""Crashes and odd messages at places where something was once lost: each test is one of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from clawbus.bus import Bus, Delivery, TaskConsumer, fetch_now, gateway_reader, task_durable
from clawbus.bus.consumer import ask
from clawbus.bus.signing import HEADER
from clawbus.errors import DiskFull, WireError
from clawbus.gateway import GatewayRpc
from clawbus.gateway.transcript import Transcript
from clawbus.node import Node
from clawbus.node.ledger import Ledger, Outgoing
from clawbus.node.mailbox import Outbox
from clawbus.node.tools.answer import Caller
from clawbus.node.worker import ControlHandler, deaf
from clawbus.tasks import STEER, NewTask, cancellation, make_task
from clawbus.tasks.halt import Halt
from clawbus.wire.channels import DEAD, EVENTS, TASKS
from clawbus.wire.envelope import Artifact, Envelope, decode, now
from clawbus.wire.subjects import Subjects, new_message_id, new_task_id
from tests.company import Live, until
from tests.server.test_oversight import asked, at_work, end_of, give, shop

__all__ = ["shop"]
ACME = Subjects("acme")
CEO, CTO = "ceo-genesis", "cto-athena"


def said(kind: str = "message", sender: str = CTO, to: str = CEO, **more: object) -> Envelope:
    fields = {"id": new_message_id(sender), "type": kind, "from": sender, "to": to, "body": "x", **more}
    return Envelope.model_validate(fields)


@contextlib.asynccontextmanager
async def node(live: Live, folder: Path, gateway: str = "hq") -> AsyncIterator[tuple[Node, Bus, Ledger]]:
    """A node whose gateway is away; its parts are driven by hand."""
    async with live.company.connect(f"gw-{gateway}") as bus:
        with Ledger(folder / "ledger.db") as ledger:
            halt = Halt(bus, live.org)
            rpc = GatewayRpc(1, folder / "none", halt.check)
            yield Node(live.org, gateway, bus, rpc, ledger, halt), bus, ledger


def arrived(live: Live, mail: Envelope) -> Delivery:
    """A message as a consumer hands it out, signed by its sender's key."""
    subject, data = ACME.dm(mail.to, mail.sender), mail.encode()
    header = live.company.signers("gw-lab")[mail.sender].header(subject, data, mail.id)
    ack = f"$JS.ACK.INBOX.gw-hq.1.1.1.{time.time_ns()}.0"
    return Delivery(subject, data, ack, mail.id, 1, 1, {HEADER: header})


def test_a_message_from_the_end_of_the_calendar_is_malformed() -> None:
    """A deadline after it would be no time: it would fail wherever it is shown, and stop the mail of its receiver."""
    late = said().encode().replace(b'"created_at":"20', b'"created_at":"99')
    with pytest.raises(WireError, match="created_at"):
        decode(late, CTO)


def test_times_are_read_in_utc() -> None:
    mail = Envelope.model_validate_json(said(created_at="2026-01-01T12:00:00+02:00").encode())
    assert f"{mail.created_at:%H:%M}" == "10:00"


def test_a_full_disk_does_not_block_the_ledger_for_good(tmp_path: Path) -> None:
    """What did not fit is not there; once there is room, everything is written as before."""
    with Ledger(tmp_path / "ledger.db") as ledger:
        pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
        ledger._db.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(DiskFull):
            _write(ledger)
        ledger._db.execute(f"PRAGMA max_page_count={pages + 1000}")
        _write(ledger)
        assert ledger.outbox.count() == 1


def _write(ledger: Ledger) -> None:
    with ledger.together():
        ledger.outbox.add(Outgoing("ceo-1", "s", b"x" * 100_000))


def test_broadcasts_that_nobody_reads_are_forgotten_in_the_end(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        ledger.mail.add(said(to="status.deploy"), CEO, 1, channel="topics")
        ledger.mail.add(said(), CEO, 2, "ack")
        ledger.prune(days=-1)
        assert [mail.channel for mail in ledger.mail.waiting(CEO, 9)] == ["dm"]


def test_a_long_turn_is_known_by_its_replies() -> None:
    """Its opening message is no more among the last ones: it must not be begun again, nor waited for without end."""
    last = [{"role": "assistant", "content": [], "__openclaw": {"runId": "nats-1"}}]
    assert Transcript(last, busy=False).has_started("nats-1")
    assert not Transcript(last, busy=False).has_started("nats-2")


async def test_a_task_that_went_out_after_a_crash_is_accepted_for_all_to_see(bus_only: Live, tmp_path: Path) -> None:
    """The board, the deadlines and the chains go by that event: it comes with the task, whatever dies between."""
    task = make_task(bus_only.org, CEO, NewTask(CTO, "x"))
    with Ledger(tmp_path / "ledger.db") as ledger:
        ledger.sent.add(task, "agent:ceo-genesis:main", "spawn")
        ledger.outbox.add(Outgoing(task.id, ACME.task(CTO, "medium", CEO), task.encode()))
    async with node(bus_only, tmp_path) as (new_life, bus, _):
        await new_life.outbox.drain()
        event = await bus.next_message(EVENTS, ACME.event(task.task_id or "", CEO))
    assert event is not None
    assert json.loads(event.data)["kind"] == "accepted"


async def test_an_aborted_request_announces_the_answer_that_it_had(bus_only: Live, tmp_path: Path) -> None:
    """The call is broken off while the files of the answer are fetched: the answer comes into the session instead."""
    caller = Caller(CEO, "agent:ceo-genesis:main", str(tmp_path))
    async with node(bus_only, tmp_path) as (hq, _, ledger):
        call = asyncio.create_task(hq.tools.call(caller, "nats_request", {"agentId": CTO, "task": "x"}))

        async def waiting() -> str | None:
            return next(iter(hq.announcer.waiters), None)

        task_id = await until(waiting, "the request")
        file = Artifact(name="a", sha256="0" * 64, size_bytes=1, sender=CTO)
        answer = said("result", task_id=task_id, status="done").model_copy(update={"artifacts": (file,)})
        await hq.reader.handle(arrived(bus_only, answer))
        for _ in range(3):
            await asyncio.sleep(0)  # it has its answer, and waits for the gateway, which knows where files go
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert hq.announcer._due.get_nowait() == task_id
        sent = ledger.sent.get(task_id)
    assert sent is not None
    assert sent.announce == "due"


@pytest.mark.parametrize("mail", [{"priority": "medium"}, {"priority": "high", "hops": 20}])
async def test_the_answer_that_a_task_waits_for_reaches_its_session(
    bus_only: Live, tmp_path: Path, mail: dict[str, Any]
) -> None:
    """However urgent it is and however often it was passed on; and nobody reads it away with nats_inbox."""
    thread, session = new_task_id(), f"agent:{CEO}:nats:{new_task_id()}"
    async with node(bus_only, tmp_path) as (hq, _, ledger):
        ledger.raised.add(thread, CEO, session)
        await hq.reader.handle(arrived(bus_only, said(task_id=thread, **mail)))
        for where in (session, f"agent:{CEO}:main"):
            read = await hq.tools.call(Caller(CEO, where), "nats_inbox", {})
            assert read.data == {"messages": []}
        done = await hq.tools.call(Caller(CEO, session), "nats_inbox", {"action": "ack", "messageId": "1"})
        assert not done.ok
        await hq.halt.read()  # nothing begins before it is known whether the company is stopped
        wake = hq.mail_turns._urgent()
        assert wake is not None
        assert wake.session_key == session
        ledger.raised.give_up(thread, CEO)
        read = await hq.tools.call(Caller(CEO, session), "nats_inbox", {})
    assert len(read.data["messages"]) == 1


async def test_a_steer_that_names_no_task_is_nobodys(bus_only: Live, tmp_path: Path) -> None:
    """It is taken and forgotten, not handed out again for days."""
    note = said("control", CEO, CTO, subject=STEER)
    async with node(bus_only, tmp_path, "lab") as (lab, bus, ledger):
        await lab.control._steer(note, CTO)
        await deaf(Outbox(bus, ledger, ACME, None))(note, CTO)
        assert ledger.outbox.count() == 0


async def test_a_task_that_comes_when_nobody_waits_any_more_goes_back_at_once(bus_only: Live) -> None:
    """Its gateway has gone: under a lease that nobody renews it would be done here and by another."""
    task = make_task(bus_only.org, CEO, NewTask(CTO, "x"))
    async with bus_only.company.connect("gw-hq") as hq, bus_only.company.connect("gw-lab") as lab:
        await hq.publish(ACME.task(CTO, "medium", CEO), task.encode(), msg_id=task.id)
        async with TaskConsumer(lab, "lab") as gone, TaskConsumer(lab, "lab") as other:
            await ask(lab, TASKS, task_durable("lab", "medium"), f"{gone._inbox}.sweep", {"batch": 1, "no_wait": True})
            await lab.flush()
            async with asyncio.timeout(5):  # half the lease
                assert decode((await other.next_task()).data, CEO).task_id == task.task_id


async def test_a_message_that_cannot_even_be_put_down_does_not_stop_the_worker(shop: Live) -> None:
    """The dead letters are full and refuse one more: what else comes is done all the same."""
    async with shop.company.connect("provisioner") as provisioner, shop.company.connect("gw-shop") as bus:
        config = (await provisioner.api(f"STREAM.INFO.{DEAD}"))["config"]
        await provisioner.api(f"STREAM.UPDATE.{DEAD}", {**config, "max_msgs": 1})
        for number in range(2):
            await bus.publish("acme.tasks.dev.critical.ceo", b"no task", msg_id=f"odd-{number}")
    async with at_work(shop):
        task_id = await give(shop, "dev", "good")
        assert (await end_of(shop, task_id, "dev")).status == "done"


async def test_a_task_that_is_cancelled_while_it_waits_for_a_person_leaves_the_queue(shop: Live) -> None:
    """It would take up room in its requester's quota until the stream's age is over."""
    async with at_work(shop), shop.company.connect("gw-shop") as bus, shop.owner() as owner:
        task_id = await give(shop, "ops", "x")
        await asked(shop, task_id)
        task = said("task", "ceo", "ops", task_id=task_id, created_at=now())
        await shop.company.ends(bus).write(cancellation(task, "ceo"), "ceo", "ops")

        async def gone() -> bool | None:
            return not await owner.stored(TASKS, "acme.tasks.ops.*.*") or None

        await until(gone, "the empty queue", 15)


async def brought(live: Live, mail: Envelope, subject: str, stream: str) -> Delivery:
    """A message as hq gets it from a stream."""
    async with live.company.connect("gw-lab") as lab, live.company.connect("gw-hq") as bus:
        await lab.publish(subject, mail.encode(), msg_id=mail.id)
        return await until(lambda: first(bus, stream), f"a message of {stream}")


async def first(bus: Bus, stream: str) -> Delivery | None:
    return next(iter(await fetch_now(bus, stream, gateway_reader("hq"), 1)), None)


async def dead(live: Live) -> list[str]:
    """The reasons of the dead letters."""
    async with live.owner() as bus:
        return [json.loads(one.data)["reason"] for one in await bus.stored(DEAD, "acme.dead.>")]


def late(**more: Any) -> dict[str, Any]:
    """Of what was said three days ago, and was good for an hour."""
    then = now() - timedelta(days=3)
    return {"priority": "high", "created_at": then, "expires_at": then + timedelta(hours=1), **more}


async def test_mail_that_has_expired_begins_no_turn(bus_only: Live, tmp_path: Path) -> None:
    """It is a dead letter with the reason. What has no such time, or is known already, is as ever."""
    async with node(bus_only, tmp_path) as (hq, _, ledger):
        known, timeless = said(**late()), said(created_at=now() - timedelta(days=3))
        good = said(expires_at=now() + timedelta(hours=1))
        ledger.mail.add(known, CEO, 1, "ack", asks="now")
        for mail in (known, good, timeless):
            await hq.reader.handle(arrived(bus_only, mail))
        assert await dead(bus_only) == []
        await hq.reader.handle(arrived(bus_only, said(**late())))
        assert {one.envelope.id for one in ledger.mail.fresh(CEO, 9)} == {known.id, good.id, timeless.id}
        assert await dead(bus_only) == ["it had expired"]


async def test_a_result_is_never_too_late(bus_only: Live, tmp_path: Path) -> None:
    async with node(bus_only, tmp_path) as (hq, _, ledger):
        task = make_task(bus_only.org, CEO, NewTask(CTO, "x"))
        ledger.sent.add(task, f"agent:{CEO}:main", "spawn")
        heard: list[str] = []
        hq._signals.result.connect(heard.append)
        await hq.reader.handle(arrived(bus_only, said("result", task_id=task.task_id, status="done", **late())))
        assert heard == [task.task_id]
        assert await dead(bus_only) == []


async def test_a_broadcast_that_has_expired_begins_no_turn(bus_only: Live, tmp_path: Path) -> None:
    async with node(bus_only, tmp_path) as (hq, _, ledger):
        for mail in (
            said(to="all", body="old", **late()),
            said(to="all", body="new", expires_at=now() + timedelta(hours=1)),
        ):
            await hq.broadcasts.handle(await brought(bus_only, mail, ACME.build("all", mail.sender), "BCAST"))
        assert [one.envelope.body for one in ledger.mail.fresh(CEO, 9)] == ["new"]


async def test_words_for_a_task_that_have_expired_are_not_said_to_it(bus_only: Live, tmp_path: Path) -> None:
    """A dead letter says so; what was said in time comes to the task."""
    async with node(bus_only, tmp_path, "hq") as (hq, bus, ledger):
        heard: list[str] = []

        async def take(note: Envelope, worker: str) -> None:
            heard.append(f"{note.body} for {worker}")

        control = ControlHandler(bus, bus_only.org, ledger, hq.worker, take, None)
        for body, more in (("old", late()), ("new", {"expires_at": now() + timedelta(hours=1)})):
            note = said("control", body=body, subject=STEER, task_id=new_task_id(), **more)
            await control.handle(await brought(bus_only, note, ACME.ctl(note.to, note.sender), "CTL"))
        assert heard == [f"new for {CEO}"]
        assert await dead(bus_only) == ["it had expired"]
