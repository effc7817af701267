"""The bus on a real nats-server: acks, first write wins, priorities, pulls that survive a restart, permissions."""

from __future__ import annotations

import asyncio
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clawbus.bus import Bus, Consumer, Delivery, SignedCopy, TaskConsumer, fetch_now, gateway_reader
from clawbus.bus.messages import MISSING
from clawbus.bus.signing import HEADER, Signer
from clawbus.errors import BacklogFull, BusAway, EndConflict, Refused, Unverified, WireError
from clawbus.org import parse
from clawbus.provision.config import write_config
from clawbus.provision.credentials import credentials
from clawbus.provision.plan import provision
from clawbus.settings import Home
from clawbus.tasks import NewTask, make_task
from clawbus.tasks.ends import Ends
from clawbus.wire.channels import INBOX, TASKS
from clawbus.wire.envelope import Envelope, decode
from clawbus.wire.subjects import Subjects, new_message_id, new_task_id
from tests.company import Live

SUBJECTS = Subjects("acme")


def result(by: str, task_id: str, text: str = "x") -> Envelope:
    return Envelope(
        id=new_message_id(by), type="result", sender=by, to="ceo-genesis", task_id=task_id, body=text, status="done"
    )


async def give(live: Live, bus: Bus, text: str, priority: str = "medium") -> Envelope:
    task = make_task(live.org, "ceo-genesis", NewTask("cto-athena", text, priority=priority))  # type: ignore[arg-type]
    await bus.publish(SUBJECTS.task("cto-athena", priority, "ceo-genesis"), task.encode(), msg_id=task.id)
    return task


async def test_the_same_message_id_is_stored_once(bus_only: Live) -> None:
    """A publish that is tried again after a lost ack does not become two tasks."""
    async with bus_only.company.connect("gw-hq") as bus:
        task = make_task(bus_only.org, "ceo-genesis", NewTask("cto-athena", "once"))
        subject = SUBJECTS.task("cto-athena", "medium", "ceo-genesis")
        first = await bus.publish(subject, task.encode(), msg_id=task.id)
        again = await bus.publish(subject, task.encode(), msg_id=task.id)
        assert (first.duplicate, again.duplicate, again.seq) == (False, True, first.seq)
    async with bus_only.owner() as owner:
        assert len(await owner.stored(TASKS, SUBJECTS.everything("tasks"))) == 1


async def test_the_first_end_of_a_task_is_its_only_one(bus_only: Live) -> None:
    """Twenty racing writers of two parties: one wins, and all are told the same end."""
    task_id = new_task_id()
    async with bus_only.company.connect("gw-hq") as hq, bus_only.company.connect("gw-lab") as lab:
        ends = {"ceo-genesis": Ends(hq, SUBJECTS, ()), "cto-athena": Ends(lab, SUBJECTS, ())}
        writers = ["ceo-genesis", "cto-athena"] * 10
        written = await asyncio.gather(
            *(ends[who].write(result(who, task_id), "ceo-genesis", "cto-athena") for who in writers)
        )
    assert sum(won for won, _ in written) == 1
    assert len({end.envelope.id for _, end in written}) == 1


async def test_an_end_that_is_written_again_is_still_ours(bus_only: Live) -> None:
    """A node that died between the end and its own note of it finds its end, and does not think it has lost."""
    mine = result("cto-athena", new_task_id())
    async with bus_only.company.connect("gw-lab") as lab:
        ends = Ends(lab, SUBJECTS, ())
        assert (await ends.write(mine, "ceo-genesis", "cto-athena"))[0]
        assert (await ends.write(mine, "ceo-genesis", "cto-athena"))[0]


async def test_a_strangers_end_does_not_count_and_does_not_block(bus_only: Live) -> None:
    """Only requester, worker, people and steward end a task, whoever writes first."""
    task_id = new_task_id()
    async with bus_only.company.connect("gw-hq") as hq, bus_only.company.connect("gw-lab") as lab:
        stranger = result("ceo-genesis", task_id)
        await hq.publish(SUBJECTS.end(task_id, "ceo-genesis"), stranger.encode(), msg_id=stranger.id)
        ends = Ends(lab, SUBJECTS, ())
        assert await ends.read(task_id, "somebody-else", "cto-athena") is None
        won, end = await ends.write(result("cto-athena", task_id), "somebody-else", "cto-athena")
    assert won
    assert end.by == "cto-athena"


async def test_the_highest_priority_is_taken_first_and_the_lowest_is_not_starved(bus_only: Live) -> None:
    """Under a backlog, critical comes before high before medium before low; every eighth take is from the bottom."""
    async with bus_only.company.connect("gw-hq") as hq, bus_only.company.connect("gw-lab") as lab:
        for priority in ("low", "medium", "high", "critical"):
            for number in range(5):
                await give(bus_only, hq, f"{priority} {number}", priority)
        taken = []
        async with TaskConsumer(lab, "lab") as task_consumer:
            for _ in range(20):
                delivery = await task_consumer.next_task()
                taken.append(decode(delivery.data, "ceo-genesis").priority)
                await lab.ack(delivery.ack_subject)
    assert taken[:7] == ["critical"] * 5 + ["high"] * 2
    assert taken[7] == "low"
    assert sorted(taken) == sorted(["critical", "high", "medium", "low"] * 5)


async def test_a_task_that_comes_to_an_idle_gateway_is_taken_and_only_one(bus_only: Live) -> None:
    """Waiting requests of four priorities hand out one task; what else arrives goes back to the stream."""
    async with bus_only.company.connect("gw-hq") as hq, bus_only.company.connect("gw-lab") as lab:
        async with TaskConsumer(lab, "lab") as task_consumer:
            waiting = asyncio.create_task(task_consumer.next_task())
            await asyncio.sleep(0)
            await asyncio.gather(*(give(bus_only, hq, p, p) for p in ("critical", "high", "medium", "low")))
            first = await waiting
            rest = [await task_consumer.next_task() for _ in range(3)]
        bodies = sorted(decode(one.data, "ceo-genesis").body for one in (first, *rest))
    assert bodies == ["critical", "high", "low", "medium"]


async def test_taking_and_reading_go_on_after_the_server_was_killed(bus_only: Live) -> None:
    """A pull request dies with the server: it is asked for again, and nothing has to be restarted."""
    seen: asyncio.Queue[Delivery] = asyncio.Queue()
    async with (
        bus_only.company.connect("gw-hq") as hq,
        bus_only.company.connect("gw-lab") as lab,
        TaskConsumer(lab, "lab") as task_consumer,
    ):
        pull = asyncio.create_task(Consumer(lab, INBOX, gateway_reader("lab"), seen.put).run())
        taking = asyncio.create_task(task_consumer.next_task())
        await give(bus_only, hq, "before")
        before = await taking
        assert decode(before.data, "ceo-genesis").body == "before"
        await lab.ack(before.ack_subject)
        taking = asyncio.create_task(task_consumer.next_task())
        bus_only.kill("nats-server")
        await bus_only.start("nats-server")
        task = await _until_published(bus_only, hq)
        mail = replace_mail(task)
        await hq.publish(SUBJECTS.dm("cto-athena", "ceo-genesis"), mail.encode(), msg_id=mail.id)
        assert decode((await asyncio.wait_for(taking, 30)).data, "ceo-genesis").body == "after"
        assert (await asyncio.wait_for(seen.get(), 30)).subject == "acme.dm.cto-athena.ceo-genesis"
        pull.cancel()


def replace_mail(task: Envelope) -> Envelope:
    return task.model_copy(update={"type": "message", "id": new_message_id("ceo-genesis")})


async def _until_published(live: Live, bus: Bus) -> Envelope:
    while True:
        try:
            return await give(live, bus, "after")
        except BusAway:
            continue


async def test_a_full_backlog_is_refused_and_each_ack_makes_room(bus_only: Live) -> None:
    """The server holds the quota: 20 waiting tasks per sender, receiver and priority; the next one is refused."""
    async with bus_only.company.connect("gw-hq") as hq, bus_only.company.connect("gw-lab") as lab:
        for number in range(20):
            await give(bus_only, hq, str(number))
        with pytest.raises(BacklogFull):
            await give(bus_only, hq, "one too many")
        async with TaskConsumer(lab, "lab") as task_consumer:
            await lab.ack((await task_consumer.next_task()).ack_subject)
        await give(bus_only, hq, "fits again")


async def test_a_lease_that_is_renewed_is_not_handed_out_again(bus_only: Live) -> None:
    """ack_wait is the lease: without renewal the message comes again, with its delivery counted."""
    async with bus_only.company.connect("provisioner") as admin:
        config = (await admin.api(f"CONSUMER.INFO.{INBOX}.gw-lab"))["config"]
        body = {"stream_name": INBOX, "config": config | {"ack_wait": 400_000_000}}
        await admin.api(f"CONSUMER.DURABLE.CREATE.{INBOX}.gw-lab", body)
    async with bus_only.company.connect("gw-hq") as hq, bus_only.company.connect("gw-lab") as lab:
        mail = result("ceo-genesis", new_task_id()).model_copy(update={"to": "cto-athena"})
        await hq.publish(SUBJECTS.dm("cto-athena", "ceo-genesis"), mail.encode(), msg_id=mail.id)
        (first,) = await fetch_now(lab, INBOX, "gw-lab", 10)
        for _ in range(8):
            await asyncio.sleep(0.1)
            await lab.renew(first.ack_subject)
            assert await fetch_now(lab, INBOX, "gw-lab", 10) == []
        again: list[Delivery] = []
        while not again:
            again = await fetch_now(lab, INBOX, "gw-lab", 10)
        assert (first.delivered, again[0].delivered) == (1, 2)
        assert replace(again[0], ack_subject="", delivered=0) == replace(first, ack_subject="", delivered=0)


@pytest.mark.parametrize(("key", "subject"), [
    ("gw-lab", "acme.dm.ceo-genesis.ceo-genesis"),
    ("gw-lab", "acme.tasks.cto-athena.high.ceo-genesis"),
    ("gw-lab", "acme.end.{task}.ceo-genesis"),
    ("gw-lab", "acme.events.{task}.owner"),
    ("me-owner", "acme.dm.cto-athena.ceo-genesis"),
])  # fmt: skip
async def test_nobody_can_speak_for_another(bus_only: Live, key: str, subject: str) -> None:
    """The sender is the subject's last token, and each key may publish its own names only."""
    async with bus_only.company.connect(key) as bus:
        with pytest.raises(Refused, match="may not publish"):
            await bus.publish(
                subject.replace("{task}", new_task_id()), b"{}", msg_id=new_message_id("x"), timeout_s=0.5
            )
    async with bus_only.owner() as owner:
        for stream, channel in ((TASKS, "tasks"), (INBOX, "dm")):
            assert await owner.stored(stream, SUBJECTS.everything(channel)) == []


@pytest.mark.parametrize("method", ["STREAM.PURGE.TASKS", "STREAM.DELETE.INBOX", "CONSUMER.CREATE.INBOX.spy",
                                    "CONSUMER.MSG.NEXT.INBOX.gw-hq", "STREAM.MSG.GET.INBOX"])  # fmt: skip
async def test_a_node_may_only_read_its_own_durables(bus_only: Live, method: str) -> None:
    """A gateway's key cannot purge, create a consumer, or pull another gateway's mail."""
    async with bus_only.company.connect("gw-lab") as bus:
        with pytest.raises(Refused, match="may not publish"):
            await bus.api(method, {"batch": 1}, timeout_s=0.5)


async def test_a_key_that_the_server_does_not_know_is_refused(bus_only: Live, tmp_path: Path) -> None:
    """Credentials of the right form and name, which another operator has signed, get nothing."""
    elsewhere = Home(tmp_path / "elsewhere" / ".clawbus")
    write_config(elsewhere, bus_only.org)
    stranger = credentials(elsewhere, bus_only.org, "gw-hq")
    with pytest.raises(Refused, match="does not know the key"):
        async with Bus.connect(bus_only.org.url, stranger, "stranger"):
            pass


async def test_a_server_that_is_not_there_is_reported_fast() -> None:
    """nats-py alone would try for ever."""
    import tempfile

    from clawbus.bus.identity import load_or_create

    with tempfile.TemporaryDirectory() as folder:
        me = load_or_create("me", Path(folder) / "me.nk")
        with pytest.raises(BusAway, match="clawbus up"):
            async with Bus.connect("nats://127.0.0.1:1", me, "test", wait_s=1.0):
                pass


async def test_an_agent_moves_to_another_gateway_with_its_backlog(bus_only: Live) -> None:
    """The durables follow org.toml; what had been stored before is handed out by the new one; the old one is gone."""
    async with bus_only.company.connect("gw-hq") as hq:
        await give(bus_only, hq, "waiting for a new home")
    text = bus_only.org_file.read_text().replace('gateway = "lab"', 'gateway = "hq"')
    moved = parse(tomllib.loads(text))
    async with bus_only.company.connect("provisioner") as admin:
        await provision(admin, moved)
        await provision(admin, moved)  # the second time there is nothing to do
        async with TaskConsumer(admin, "hq") as task_consumer:
            delivery = await asyncio.wait_for(task_consumer.next_task(), 10)
        assert decode(delivery.data, "ceo-genesis").body == "waiting for a new home"
        with pytest.raises(Refused) as caught:
            await admin.api(f"CONSUMER.INFO.{INBOX}.gw-lab")
        assert caught.value.code in MISSING


async def test_a_publish_that_is_forbidden_is_refused_and_not_waited_for(bus_only: Live) -> None:
    """The server says so beside the connection; an outbox must not take it for a bus that is away."""
    async with bus_only.company.connect("gw-lab") as bus:
        with pytest.raises(Refused, match=r"may not publish acme\.dm\.ceo-genesis\.owner"):
            await bus.publish("acme.dm.ceo-genesis.owner", b"{}", msg_id=new_message_id("x"))


async def test_a_stored_message_cannot_be_sent_on_as_it_is(bus_only: Live) -> None:
    """Direct get answers with the stored bytes on any reply subject: a node that had it could forge a task."""
    async with bus_only.company.connect("gw-lab") as lab, bus_only.company.connect("gw-hq") as hq:
        task_id = new_task_id()
        task = make_task(bus_only.org, "ceo-genesis", NewTask("cto-athena", "forged"))
        forged = task.model_copy(update={"sender": "owner"})
        await lab.publish(SUBJECTS.event(task_id, "cto-athena"), forged.encode(), msg_id=new_message_id("cto-athena"))
        for method in ("DIRECT.GET.EVENTS", "STREAM.MSG.GET.EVENTS"):
            request = b'{"seq":1,"next_by_subj":"acme.events.>"}'
            await lab.tell(f"$JS.API.{method}", request, reply="acme.tasks.ceo-genesis.critical.owner")
        await lab.flush()
        found = await fetch_now(hq, TASKS, "gw-hq-critical", 10)
        for delivery in found:
            with pytest.raises(WireError):
                decode(delivery.data, "owner")


def reword(bus: Bus) -> None:
    """From now on each error of the server has another text; its code stays."""
    request = bus._request

    async def reworded(*args: Any, **options: Any) -> dict[str, Any]:
        answer = await request(*args, **options)
        return answer | ({"error": answer["error"] | {"description": "something else"}} if "error" in answer else {})

    bus._request = reworded  # type: ignore[method-assign]


async def test_errors_are_known_by_their_code_whatever_their_words(bus_only: Live) -> None:
    """No message, no stream, no consumer, a wrong last sequence, a key that is not published."""
    async with bus_only.company.connect("provisioner") as bus:
        reword(bus)
        nobody = SUBJECTS.dm("cto-athena", "ceo-genesis")
        assert await bus.next_message(INBOX, nobody) is None
        assert await bus.last_message(INBOX, nobody) is None
        for call in (
            lambda: bus.next_message("NONE", nobody),
            lambda: bus.last_message("NONE", nobody),
            lambda: bus.api("STREAM.INFO.NONE"),
            lambda: bus.api(f"CONSUMER.INFO.{INBOX}.none"),
        ):
            with pytest.raises(Refused, match="clawbus apply") as caught:
                await call()
            assert caught.value.code in MISSING
        with pytest.raises(EndConflict, match="something else"):
            await bus.publish(nobody, b"{}", msg_id=new_message_id("x"), last_seq=(nobody, 7))


async def test_a_signature_is_checked_whatever_the_server_calls_an_absent_key(bus_only: Live) -> None:
    """Whoever has published no key has signed nothing: that is known, and no reason to wait."""
    async with bus_only.company.connect("gw-lab") as bus:
        reword(bus)
        subject, data, msg_id = "acme.dm.cto-athena.nobody", b"{}", new_message_id("nobody")
        signer = Signer("acme", "nobody", bus_only.company.home.key("nobody"))
        forged = SignedCopy(subject, msg_id, {HEADER: signer.header(subject, data, msg_id)}, data)
        with pytest.raises(Unverified, match="not nobody's"):
            await bus.verifier.check(forged)
