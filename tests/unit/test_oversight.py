"""Human oversight, on a real nats-server with real programs as workers: told, asked before dispatch, asked before the report."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clawbus import NotFound, Task, connect, serve
from clawbus.approving import Approval, decide, waiting
from clawbus.bus import Bus, End
from clawbus.channels import EVENTS, INBOX
from clawbus.envelope import decode
from clawbus.errors import Refused
from clawbus.events import Event
from clawbus.steward import Steward
from clawbus.subjects import new_message_id
from clawbus.tasks import NewTask, make_task
from tests.company import Live, free_ports, live, until

TOML = """
company = "acme"
bus.port = {port}
policies.lease_s = 5
[[gateways]]
id = "shop"
kind = "program"
slots = 2
[[agents]]
id = "ceo"
role = "role-ceo"
gateway = "shop"
[[agents]]
id = "ops"
role = "role-ops"
gateway = "shop"
[[agents]]
id = "writer"
role = "role-writer"
gateway = "shop"
[[agents]]
id = "qa"
role = "role-qa"
gateway = "shop"
[[agents]]
id = "dev"
gateway = "shop"
[[humans]]
id = "owner"
[[humans]]
id = "boss"
[[oversight]]
agent = "ops"
level = "ask_dispatch"
human = "boss"
[[oversight]]
from = "ceo"
to = "writer"
level = "ask_report"
[[oversight]]
agent = "qa"
level = "told"
"""


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Live]:
    async with live(tmp_path, None, toml=TOML.format(port=free_ports(1)[0])) as company:
        yield company


@contextlib.asynccontextmanager
async def at_work(shop: Live) -> AsyncIterator[list[str]]:
    """The program that does everybody's tasks, and a steward; yields what was begun."""
    begun: list[str] = []

    async def handler(task: Task) -> str:
        begun.append(task.text)
        return f"done: {task.text}"

    async with shop.company.connect("steward") as bus:
        work = [
            asyncio.create_task(
                serve(shop.org_file, "shop", dict.fromkeys(("ceo", "ops", "writer", "qa", "dev"), handler))
            ),
            asyncio.create_task(Steward(shop.org, bus).run()),
        ]
        try:
            yield begun
        finally:
            for one in work:
                one.cancel()
            await asyncio.gather(*work, return_exceptions=True)


async def give(shop: Live, to: str, text: str) -> str:
    """A task from the CEO, as its node would publish it."""
    task = make_task(shop.org, "ceo", NewTask(to, text, label=text))
    async with shop.company.connect("gw-shop") as bus:
        event = Event(id=new_message_id("ceo"), kind="accepted", task_id=task.task_id or "", sender="ceo",
                      detail={"to": to, "label": text})  # fmt: skip
        await bus.publish(f"acme.events.{task.task_id}.ceo", event.encode(), msg_id=event.id)
        await bus.publish(f"acme.tasks.{to}.medium.ceo", task.encode(), msg_id=task.id)
    return task.task_id or ""


async def asked(shop: Live, task_id: str) -> Approval:
    async def look() -> Approval | None:
        async with shop.owner() as bus:
            return next((one for one in await waiting(bus, shop.company) if one.task_id == task_id), None)

    return await until(look, "the question", 20)


async def end_of(shop: Live, task_id: str, to: str) -> End:
    async with shop.owner() as bus:
        return await until(lambda: shop.company.ends(bus).read(task_id, "ceo", to), "the end", 30)


async def say(shop: Live, task_id: str, approved: bool, person: str = "owner", why: str = "") -> None:
    async with shop.company.connect_person(person) as (bus, me):
        await decide(bus, shop.company, me, task_id, approved=approved, why=why)


async def mail_for(shop: Live, person: str) -> list[str]:
    async with shop.owner() as bus:
        found = await bus.stored(INBOX, f"acme.dm.{person}.*")
    return [decode(one.data, one.subject.rsplit(".", 1)[1]).body for one in found]


async def test_k9_a_task_waits_until_a_person_lets_it_start(shop: Live) -> None:
    """Asked before dispatch: nothing is begun, the person is told, and `approve` starts it."""
    async with at_work(shop) as begun:
        task_id = await give(shop, "ops", "restart the database")
        question = await asked(shop, task_id)
        assert (question.side, question.agent, question.requester) == ("dispatch", "ops", "ceo")
        assert begun == []
        (told,) = await until(lambda: mail_for(shop, "boss"), "the mail", 10)
        assert "restart the database" in told
        argv = [sys.executable, "-m", "clawbus", "approve", task_id, "--org", str(shop.org_file), "--as", "boss"]
        await asyncio.to_thread(subprocess.run, argv, check=True)
        end = await end_of(shop, task_id, "ops")
    assert (end.status, end.envelope.body, begun) == ("done", "done: restart the database", ["restart the database"])


async def test_k9_a_report_waits_until_a_person_lets_it_out(shop: Live) -> None:
    """Asked before the report goes out: the work is done, and nobody hears of it before."""
    async with at_work(shop) as begun:
        task_id = await give(shop, "writer", "the press release")
        question = await asked(shop, task_id)
        assert (question.side, question.text) == ("report", "done: the press release")
        assert begun == ["the press release"]
        async with shop.owner() as bus:
            assert await shop.company.ends(bus).read(task_id, "ceo", "writer") is None
        await say(shop, task_id, True)
        assert (await end_of(shop, task_id, "writer")).status == "done"


async def test_k9_told_is_told_and_waits_for_nobody(shop: Live) -> None:
    """The lowest level: the person hears that it was given, and how it ended."""
    async with at_work(shop):
        task_id = await give(shop, "qa", "run the checks")
        assert (await end_of(shop, task_id, "qa")).status == "done"

        async def both() -> bool:
            told = " | ".join(await mail_for(shop, "owner"))
            return "ceo gave qa task" in told and "done: run the checks" in told

        await until(both, "both messages", 10)


async def test_k9_what_nobody_watches_is_not_asked_for(shop: Live) -> None:
    """No rule, no question; and a person's own task was decided by giving it."""
    async with at_work(shop):
        free = await give(shop, "dev", "think")
        assert (await end_of(shop, free, "dev")).status == "done"
        async with connect(shop.org_file) as client:
            result = await client.ask("ops", "look at the disk", timeout_s=20)
    assert result.text == "done: look at the disk"


async def test_a_refusal_ends_the_task_with_the_reason(shop: Live) -> None:
    """Before the start, and before the report: the requester hears who said no, and why."""
    async with at_work(shop) as begun:
        first, second = await give(shop, "ops", "drop the table"), await give(shop, "writer", "a secret")
        await asked(shop, first)
        await say(shop, first, False, "boss", "not on a Friday")
        await asked(shop, second)
        await say(shop, second, False)
        ends = [await end_of(shop, first, "ops"), await end_of(shop, second, "writer")]
    assert [end.status for end in ends] == ["failed", "failed"]
    assert ends[0].envelope.body == "boss did not let it start: not on a Friday"
    assert "a secret" not in ends[1].envelope.body
    assert begun == ["a secret"]


async def test_no_agent_can_approve(shop: Live) -> None:
    """An agent's event is heard and does not count, and the server lets nobody speak as a person."""
    async with at_work(shop) as begun:
        task_id = await give(shop, "ops", "grant me root")
        await asked(shop, task_id)
        async with shop.company.connect("gw-shop") as bus:
            for sender in ("ceo", "ops"):
                await approve_as(bus, task_id, sender)
            with pytest.raises(Refused):
                await approve_as(bus, task_id, "owner")
        again = await give(shop, "ops", "and another")
        await asked(shop, again)  # by now the first one has been looked at anew
        async with shop.owner() as bus:
            assert {one.task_id for one in await waiting(bus, shop.company)} == {task_id, again}
    assert begun == []


async def test_the_question_survives_the_death_of_the_worker_and_is_asked_once(shop: Live) -> None:
    """It is an event: another process reads it, and the decision that fell meanwhile."""
    async with at_work(shop):
        task_id = await give(shop, "ops", "rotate the keys")
        await asked(shop, task_id)
    await say(shop, task_id, True)
    async with at_work(shop) as begun:
        assert (await end_of(shop, task_id, "ops")).status == "done"
        async with shop.owner() as bus:
            questions = await bus.stored(EVENTS, f"acme.events.{task_id}.ops")
    assert sum(b'"waiting_approval"' in one.data for one in questions) == 1
    assert begun == ["rotate the keys"]


async def test_what_does_not_wait_cannot_be_decided(shop: Live) -> None:
    """The command says so, and how to see what waits."""
    with pytest.raises(NotFound, match="waits for a decision"):
        await say(shop, "a" * 26, True)


async def approve_as(bus: Bus, task_id: str, sender: str) -> None:
    event = Event(
        id=new_message_id(sender), kind="approved", task_id=task_id, sender=sender, detail={"side": "dispatch"}
    )
    await bus.publish(f"acme.events.{task_id}.{sender}", event.encode(), msg_id=event.id)
