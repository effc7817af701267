"""Dead letters on a real nats-server: written by the worker's real process, decided on with the real command line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from clawbus import Task, connect, serve
from clawbus.bus import Bus
from clawbus.errors import Refused
from clawbus.org import STEWARD
from clawbus.steward.context import Context
from clawbus.tasks import NewTask, make_task
from clawbus.tasks.dead_letters import DeadLetters
from clawbus.wire.channels import DEAD, TASKS
from clawbus.wire.envelope import Envelope
from clawbus.wire.subjects import new_message_id, new_task_id
from tests.company import Live, free_ports, live, until
from tests.server.office import alert_of, as_signed, clawbus, events_of, give, id_of, mail_of, office, steward
from tests.trying import trying

SHOP = """
company = "acme"
bus.port = {port}
policies.lease = "5s"
[[gateways]]
id = "shop"
kind = "program"
[[agents]]
id = "qa"
role = "role-qa"
gateway = "shop"
[[humans]]
id = "owner"
"""


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Live]:
    """A company whose one agent is a program that a test can kill."""
    async with live(tmp_path, None, toml=SHOP.format(port=free_ports(1)[0])) as company:
        yield company


async def died_three_times(company: Live, text: str = "@die always") -> str:
    """A task that kills its worker at each attempt, until there is none left. Returns its id."""
    async with connect(company.org_file) as client:
        task = await client.start("qa", text, label="the build")
        waiting = asyncio.create_task(client.wait(task, 50))
        for _ in range(3):
            company.launch("program-shop")
            await company.died("program-shop")
        company.launch("program-shop")
        assert (await waiting).status == "dead"
    return task.id


async def mended(task: Task) -> str:
    return f"done after all: {task.text}"


async def letters(company: Live) -> list[str]:
    """The tasks whose letters lie there."""
    subjects = company.company.subjects
    async with company.owner() as bus:
        found = await bus.stored(DEAD, subjects.everything("dead"))
    return [subjects.parse(one.subject).task_id or "" for one in found]


async def published(company: Live, key: str, subject: str, data: bytes) -> None:
    async with company.company.connect(key) as bus:
        await bus.publish(subject, data, msg_id=id_of(data))


async def test_g7_three_strikes_a_letter_an_alert_and_a_second_chance(shop: Live) -> None:
    """Killed three times it becomes a dead letter with its reason; redriven, it is done, and who asked gets the result."""
    async with steward(shop):
        task_id = await died_three_times(shop)
        alert = await alert_of(shop, "dead", task_id, True)
        assert "3 attempts were started, and each was interrupted" in alert.text
        assert (await mail_of(shop, subject=f"alert: dead {task_id}")).sender == STEWARD
        _, (listed,) = await clawbus(shop, "dead", "list")
        assert (listed["task_id"], listed["by"], listed["envelope"]["from"]) == (task_id, "qa", "owner")
        code, shown = await clawbus(shop, "dead", "show", task_id[:6])
        assert (code, shown["envelope"]["body"]) == (0, "@die always")
        shop.kill("program-shop")
        serving = asyncio.create_task(serve(shop.org_file, "shop", {"qa": mended}))
        code, said = await clawbus(shop, "dead", "redrive", task_id)
        assert code == 0
        result = await mail_of(shop, type="result", task_id=said["redriven_as"])
        assert (result.sender, result.parent, result.status) == (STEWARD, task_id, "done")
        assert "done after all: @die always" in result.body
        assert await letters(shop) == []
        await alert_of(shop, "dead", task_id, False)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def test_g7_the_letter_is_there_before_the_end(shop: Live) -> None:
    """A worker that dies before both, or between them, writes them at its next start, and one letter only."""
    async with connect(shop.org_file) as client:
        task = await client.start("qa", "@die always")
        for _ in range(3):
            shop.launch("program-shop")
            await shop.died("program-shop")
        shop.launch_program("program-shop", "--die-at", "replied")
        await shop.died("program-shop")
        await shop.start("program-shop")
        assert (await client.wait(task, 30)).status == "dead"
    assert await letters(shop) == [task.id]
    async with shop.company.connect("gw-shop") as bus:
        envelope = make_task(shop.org, "owner", NewTask("qa", "x")).model_copy(update={"task_id": task.id})
        end = envelope.model_copy(update={"type": "result", "status": "dead", "body": "again"})
        await DeadLetters(bus, shop.company.subjects).before(end, envelope, "qa", {})
    assert await letters(shop) == [task.id]


async def test_g7_what_is_no_task_is_a_letter_too_and_can_be_pruned(shop: Live) -> None:
    """Bytes that nobody can read do not vanish: they lie there as they came, until a person throws them away."""
    await published(shop, "me-owner", shop.company.subjects.task("qa", "high", "owner"), b'{"no": "task"}')
    await published(shop, "me-owner", shop.company.subjects.task("qa", "high", "owner"), b"\xff\xfe")
    async with steward(shop):
        await shop.start("program-shop")

        async def both() -> list[str] | None:
            return found if len(found := await letters(shop)) == 2 else None

        ids = await until(both, "two letters")
        for one in ids:
            await alert_of(shop, "dead", one, True)
        code, said = await clawbus(shop, "dead", "redrive", ids[0])
        assert (code, "was no task" in said) == (6, True)
        code, said = await clawbus(shop, "dead", "prune", "--all")
        assert (code, sorted(said["pruned"])) == (0, sorted(ids))
        assert await letters(shop) == []
        for one in ids:
            await alert_of(shop, "dead", one, False)


async def test_g7_mail_that_cannot_be_read_is_a_letter(tmp_path: Path) -> None:
    async with office(tmp_path) as company:
        await company.start("node-lab")
        await published(company, "gw-hq", company.company.subjects.dm("cto", "ceo"), b"hello")

        async def there() -> bool:
            return len(await letters(company)) == 1

        await until(there, "the letter")


async def put_down(company: Live, task: Envelope, by: str = "cto", key: str = "gw-lab") -> None:
    """A letter, as a worker's node writes it."""
    letter: dict[str, Any] = {"v": 1, "reason": "why not", "subject": "acme.tasks.cto.medium.ceo", "at": "2026-01-01"}
    letter |= {"envelope": task.model_dump(mode="json", by_alias=True), "signed": await as_signed(company, task)}
    subject = company.company.subjects.build("dead", by, task=task.task_id or "")
    await published(company, key, subject, json.dumps(letter).encode())


async def test_only_people_decide_what_becomes_of_a_letter(tmp_path: Path) -> None:
    """An agent's order to the steward is refused; a person's, said after it, is followed."""
    async with office(tmp_path) as company, steward(company):
        task = await give(company, NewTask("cto", "x"))
        await put_down(company, task)
        await alert_of(company, "dead", task.task_id or "", True)
        body = json.dumps({"do": "prune"})
        note = Envelope(
            id=new_message_id("ceo"), type="control", sender="ceo", to=STEWARD, task_id=task.task_id, body=body
        )
        await published(company, "gw-hq", company.company.subjects.ctl(STEWARD, "ceo"), note.encode())
        code, _ = await clawbus(company, "dead", "redrive", task.task_id or "", "--to", "security")
        assert code == 0
        (chained,) = await events_of(company, task.task_id or "", "chained")
        assert chained.detail["why"] == "redriven by owner"
        subject = company.company.subjects.task("security", "medium", STEWARD)
        async with company.owner() as bus:
            (again,) = await bus.stored(TASKS, subject)
        new = Envelope.model_validate_json(again.data)
        assert (new.parent, new.body, new.hops, new.path) == (task.task_id, "x", task.hops, (*task.path, "ceo"))


async def test_a_letter_as_long_as_a_message_can_be_is_heard_of(tmp_path: Path) -> None:
    """An agent has written its reason: the alert names the beginning, since all of it is too long to be told."""
    async with office(tmp_path) as company, steward(company):
        letter_id = new_task_id()
        said = json.dumps({"v": 1, "reason": "x" * 900_000, "subject": "y" * 100_000}).encode()
        subject = company.company.subjects.build("dead", "cto", task=letter_id)
        async with company.company.connect("gw-lab") as bus:
            await bus.publish(subject, said, msg_id=new_message_id("cto"))
        alert = await alert_of(company, "dead", letter_id, True)
        assert alert.text.startswith(f"Dead letter {letter_id}: xxx")
        assert len(alert.text) + len(alert.detail["reason"]) < 10_000
        assert (await mail_of(company, "owner")).body == alert.text


async def test_a_letter_for_who_has_left_is_not_ordered_in_vain(tmp_path: Path) -> None:
    """It is said at once, with the names that there are; the letter stays, and goes to one of these."""
    async with office(tmp_path) as company, steward(company):
        task = await give(company, NewTask("security", "x"))
        await put_down(company, task)
        await alert_of(company, "dead", task.task_id or "", True)
        toml = company.org_file.read_text()
        start = toml.index('[[agents]]\nid = "security"')
        company.org_file.write_text(toml[:start] + toml[toml.index("[[humans]]") :])
        code, said = await clawbus(company, "dead", "redrive", task.task_id or "")
        assert (code, "--to = 'security': no such agent" in said) == (4, True)
        assert (await clawbus(company, "dead", "redrive", task.task_id or "", "--to", "cto"))[0] == 0


async def test_a_redriven_task_that_dies_again_still_knows_who_asked(tmp_path: Path) -> None:
    """Through any number of redrives the result names the task that the requester knows."""
    async with office(tmp_path) as company, steward(company):
        first = await give(company, NewTask("cto", "x"))
        await put_down(company, first)
        _, said = await clawbus(company, "dead", "redrive", first.task_id or "")
        async with company.company.connect("steward") as bus:
            (stored,) = await bus.stored(TASKS, company.company.subjects.task("cto", "medium", STEWARD))
            second = Envelope.model_validate_json(stored.data)
            assert second.task_id == said["redriven_as"]
            accepted = await Context(company.org, bus).accepted(second.task_id or "", STEWARD)
            assert accepted is not None
            assert (accepted.detail["chain_of"], accepted.detail["requester"]) == (first.task_id, "ceo")
        await put_down(company, second)
        _, said = await clawbus(company, "dead", "redrive", second.task_id or "")
        async with company.company.connect("steward") as bus:
            accepted = await Context(company.org, bus).accepted(said["redriven_as"], STEWARD)
        assert accepted is not None
        assert (accepted.detail["chain_of"], accepted.detail["requester"]) == (first.task_id, "ceo")


async def fill(company: Live, mib: int = 4) -> int:
    """The stream of dead letters holds what a stolen key can write, and not one byte more. Returns how many lie there."""
    async with company.company.connect("provisioner") as bus:
        config = (await bus.api(f"STREAM.INFO.{DEAD}"))["config"]
        await bus.api(f"STREAM.UPDATE.{DEAD}", {**config, "max_bytes": mib << 20})
        async with trying(company.org.url, company.company.identity("gw-shop").creds_file) as thief:
            for size in (1 << 20, 64 << 10, 4 << 10, 256, 1):
                for _ in range((1 << 20) // size if size < 1 << 20 else mib):
                    assert await thief.may_publish(f"acme.dead.{new_task_id()}.qa", b"x" * size)
                    if size == 1 and await _refuses(bus):
                        break
        assert await _refuses(bus), "full"
        return int((await bus.api(f"STREAM.INFO.{DEAD}"))["state"]["messages"])


async def _refuses(bus: Bus) -> bool:
    try:
        await bus.publish(f"acme.dead.{new_task_id()}.steward", b"", msg_id=new_message_id("steward"))
    except Refused:
        return True
    return False


async def test_a_letter_that_cannot_be_kept_holds_up_nothing(tmp_path: Path) -> None:
    """The stream is full, and more tasks than the gateway has slots end in a letter: what is asked then is answered.

    Some are no task, some have no reservation, one kills its worker each time: their ends and their ways out of the
    queue must not wait for a room that nobody makes.
    """
    toml = SHOP.format(port=free_ports(1)[0]).replace('kind = "program"', 'kind = "program"\nslots = 1')
    async with live(tmp_path, None, toml=toml) as shop, steward(shop):
        await fill(shop)
        subject = shop.company.subjects.task("qa", "medium", "owner")
        for number in range(5):
            task = make_task(shop.org, "owner", NewTask("qa", f"without a reservation, {number}"))
            await published(shop, "me-owner", subject, task.encode())
            await published(shop, "me-owner", subject, b"no task")
            await published(shop, "me-owner", shop.company.subjects.dm("qa", "owner"), b"no mail")
            await published(shop, "me-owner", shop.company.subjects.ctl("qa", "owner"), b"no control")
        await shop.start("program-shop")
        async with connect(shop.org_file) as client:
            result = await client.wait(await client.start("qa", "still there?"), 30)
        assert (result.status, "still there?" in result.text) == ("done", True)
        assert "was not kept" in shop.home.log("program-shop").read_text()


async def test_a_full_stream_of_letters_is_pruned_by_one_word(shop: Live) -> None:
    """Signed or not, one message: what `dead list` shows, and what it does not, since it is nobody's letter."""
    async with steward(shop):
        lost = new_task_id()
        said = json.dumps({"v": 1, "reason": "an honest one", "subject": "acme.tasks.qa.medium.owner"}).encode()
        await published(shop, "gw-shop", shop.company.subjects.build("dead", "qa", task=lost), said)
        await alert_of(shop, "dead", lost, True)
        count = await fill(shop)
        code, said_then = await clawbus(shop, "dead", "prune", "--all")
        assert code == 0, said_then
        assert lost in said_then["pruned"]
        assert len(said_then["pruned"]) == count
        assert await letters(shop) == []
        await alert_of(shop, "dead", lost, False)
        async with shop.company.connect("steward") as bus:
            assert not await _refuses(bus)
        code, again = await clawbus(shop, "dead", "prune", "--all")  # the one that was just put down
        assert (code, len(again["pruned"])) == (0, 1)
        assert await clawbus(shop, "dead", "prune", "--all") == (0, {"pruned": []})


async def test_only_people_prune_all(tmp_path: Path) -> None:
    """An agent's order is refused, and one without a number; a letter that comes after the order stays."""
    async with office(tmp_path) as company, steward(company):
        task = await give(company, NewTask("cto", "x"))
        await put_down(company, task)
        await alert_of(company, "dead", task.task_id or "", True)
        for key, sender, seq in (("gw-hq", "ceo", 99), ("me-owner", "owner", None), ("me-owner", "owner", 1)):
            order = json.dumps({"do": "purge", "seq": seq})
            note = Envelope(id=new_message_id(sender), type="control", sender=sender, to=STEWARD, body=order)
            await published(company, key, company.company.subjects.ctl(STEWARD, sender), note.encode())
        other = await give(company, NewTask("cto", "y"))
        await put_down(company, other)
        code, _ = await clawbus(company, "dead", "prune", other.task_id or "")  # it came after those orders
        assert code == 0
        assert await letters(company) == [task.task_id]
