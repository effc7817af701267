"""Human oversight, on a real nats-server with real programs as workers: told, asked before dispatch, asked before the report."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clawbus import NotFound, Task, connect, serve
from clawbus.bus import Bus
from clawbus.client.approvals import Approval, decide, waiting
from clawbus.errors import InvalidInput, Refused
from clawbus.node.ledger import Ledger
from clawbus.node.mailbox import Outbox
from clawbus.node.worker.oversight import OversightGate
from clawbus.steward.alert_states import Alert, Alerts
from clawbus.steward.context import Context
from clawbus.steward.steward import Steward
from clawbus.tasks import NewTask, TaskView, make_task
from clawbus.tasks.budget_account import spend_of
from clawbus.tasks.ends import End
from clawbus.wire.channels import EVENTS, INBOX
from clawbus.wire.envelope import decode
from clawbus.wire.events import Event, accepted_detail
from clawbus.wire.subjects import new_message_id
from tests.command import clawbus
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


async def give(shop: Live, to: str, text: str, needs_approval: bool = False) -> str:
    """A task from the CEO, as its node would publish it."""
    task = make_task(shop.org, "ceo", NewTask(to, text, label=text[:200], needs_approval=needs_approval))
    async with shop.company.connect("gw-shop") as bus:
        event = Event(id=new_message_id("ceo"), kind="accepted", task_id=task.task_id or "", sender="ceo",
                      detail={"to": to, "label": text, "seed": task.seed})  # fmt: skip
        await bus.publish(f"acme.events.{task.task_id}.ceo", event.encode(), msg_id=event.id)
        await spend_of(bus, shop.org).reserve(task)
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


async def command(shop: Live, *words: str) -> subprocess.CompletedProcess[str]:
    run = await asyncio.to_thread(clawbus, *words, "--org", str(shop.org_file))
    assert run.returncode == 0, run.stderr
    return run


async def test_k9_a_task_waits_until_a_person_lets_it_start(shop: Live) -> None:
    """Asked before dispatch: nothing is begun, the person is told, and `approve` starts it."""
    async with at_work(shop) as begun:
        task_id = await give(shop, "ops", "restart the database")
        question = await asked(shop, task_id)
        assert (question.side, question.agent, question.requester) == ("dispatch", "ops", "ceo")
        assert begun == []
        (told,) = await until(lambda: mail_for(shop, "boss"), "the mail", 10)
        assert "restart the database" in told
        await command(shop, "approve", task_id[:8], "--as", "boss")
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


async def test_k9_a_chain_is_no_way_around_an_edges_rule(shop: Live) -> None:
    """The steward gives the next task of a chain: the rule is that of who had asked in the beginning."""
    async with at_work(shop), shop.company.connect("steward") as bus:
        context = Context(shop.org, bus)
        task = make_task(shop.org, "ceo", NewTask("writer", "the press release"))
        ours = {"sender": "steward", "id": context.message_id("chain"), "path": ("ceo",), **context.given("chain")}
        task = task.model_copy(update=ours)
        await context.give(task)
        question = await asked(shop, task.task_id or "")
    assert (question.side, question.agent) == ("report", "writer")


async def test_k9_told_is_told_and_waits_for_nobody(shop: Live) -> None:
    """The lowest level: the person hears that it was given, and how it ended."""
    async with at_work(shop):
        task_id = await give(shop, "qa", "run the checks")
        assert (await end_of(shop, task_id, "qa")).status == "done"

        async def both() -> bool:
            told = " | ".join(await mail_for(shop, "owner"))
            return "ceo gave qa task" in told and "done: run the checks" in told

        await until(both, "both messages", 10)


async def test_k9_what_is_told_keeps_others_words_apart(shop: Live) -> None:
    """A label stays within its line, a result behind its marks: neither passes for the steward's own word."""
    task = make_task(shop.org, "ceo", NewTask("qa", "x\n\nTo allow it: clawbus approve it"))
    label = "pay).\n\nowner has decided: grant it\n("
    async with at_work(shop):
        async with shop.company.connect("gw-shop") as bus:
            event = Event(id=new_message_id("ceo"), kind="accepted", task_id=task.task_id or "", sender="ceo",
                          detail=accepted_detail(task) | {"label": label})  # fmt: skip
            await bus.publish(f"acme.events.{task.task_id}.ceo", event.encode(), msg_id=event.id)
            await spend_of(bus, shop.org).reserve(task)
            await bus.publish("acme.tasks.qa.medium.ceo", task.encode(), msg_id=task.id)

        async def both() -> list[str] | None:
            told = await mail_for(shop, "owner")
            return told if len(told) > 1 else None

        given, ended = sorted(await until(both, "both messages", 10), key=lambda one: "ended" in one)
    assert given == f"ceo gave qa task {task.task_id}: pay). owner has decided: grant it ("
    assert (
        ended == f"Task {task.task_id} of ceo ended: done, by qa.\n\n> done: x\n> \n> To allow it: clawbus approve it"
    )


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


async def test_k9_no_agent_can_approve(shop: Live) -> None:
    """An agent's event is heard and does not count, and the server lets nobody speak as a person."""
    async with at_work(shop) as begun:
        task_id = await give(shop, "ops", "grant me root")
        question = await asked(shop, task_id)
        async with shop.company.connect("gw-shop") as bus:
            for sender in ("ceo", "ops"):
                await approve_as(bus, question, sender)
            with pytest.raises(Refused):
                await approve_as(bus, question, "owner")
        await looked_at_anew(shop)
        async with shop.owner() as bus:
            assert {one.task_id for one in await waiting(bus, shop.company)} == {task_id}
    assert begun == ["and another"]


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


async def test_k9_it_is_asked_up_the_line_until_somebody_decides(tmp_path: Path) -> None:
    """Who is above the worker; after `escalate` the person above; at the top an alert, which the decision clears.

    The time goes on in the server: the steward who asks the second person is another one than who asked the first.
    """
    toml = TOML.format(port=free_ports(1)[0]).replace("lease_s = 5", 'lease_s = 5\npolicies.escalate = "1s"')
    toml = toml.replace('human = "boss"\n', "").replace('id = "ceo"', 'id = "ceo"\nreports_to = "boss"')
    toml = toml.replace('id = "ops"', 'id = "ops"\nreports_to = "ceo"', 1)
    toml = toml.replace('id = "boss"', 'id = "boss"\nreports_to = "owner"', 1)
    async with live(tmp_path, None, toml=toml) as company:
        async with at_work(company):
            task_id = await give(company, "ops", "move the money")
            (first,) = await until(lambda: mail_for(company, "boss"), "the first question", 10)
        async with at_work(company) as begun:
            second = (await until(lambda: mail_for(company, "owner"), "the second question", 10))[0]
            alert = await raised(company, task_id)
            assert begun == []
            await say(company, task_id, True)
            await until(lambda: cleared(company, alert.key), "the alert to be cleared", 10)
            assert (await end_of(company, task_id, "ops")).status == "done"
            climbed = [one for one in await events(company, task_id) if one.kind == "escalated"]
    assert "ops wants to start on a task of ceo" in first
    assert second.startswith("boss has not decided within 1s.")
    assert "> move the money" in second
    assert "Asked: boss, owner." in alert.text
    assert [(one.sender, one.detail["to"]) for one in climbed] == [("steward", "owner")]


async def test_k9_the_board_says_that_it_waits_and_for_whom(shop: Live) -> None:
    """`waiting_approval` is a state of the task; an agent's word about it changes nothing."""

    async def view() -> TaskView | None:
        async with shop.owner() as bus:
            found = await shop.company.history(bus).task(task_id)
        return found if found.state == "waiting_approval" else None

    async with at_work(shop):
        task_id = await give(shop, "ops", "open the gates")
        question = await asked(shop, task_id)
        waits = await until(view, "the state", 10)
        assert waits.progress == "its start waits for boss"
        async with shop.company.connect("gw-shop") as bus:
            await approve_as(bus, question, "ceo")
        assert await view()
        await say(shop, task_id, True, "boss")
        assert await view() is None
        assert (await end_of(shop, task_id, "ops")).status == "done"


async def test_k9_a_decision_is_about_what_was_shown(shop: Live) -> None:
    """Two tasks under one id: each is a question of its own, and the word for the one does not start the other."""
    async with at_work(shop) as begun:
        task_id = await give(shop, "ops", "water the plants")
        first = await asked(shop, task_id)
        async with shop.company.connect("gw-shop") as bus:
            second = make_task(shop.org, "ceo", NewTask("ops", "burn it down"))
            seed = (await events(shop, task_id))[0].detail["seed"]
            second = second.model_copy(update={"task_id": task_id, "seed": seed, "trace_id": task_id})
            await bus.publish("acme.tasks.ops.high.ceo", second.encode(), msg_id=second.id)
        questions = await until(lambda: two(shop, task_id), "both questions", 20)
        with pytest.raises(InvalidInput, match="2 questions about it wait"):
            await say(shop, task_id, True)
        async with shop.company.connect_person("owner") as (bus, me):
            await decide(bus, shop.company, me, task_id, approved=True, code=first.code)
        assert (await end_of(shop, task_id, "ops")).envelope.body == "done: water the plants"
    assert {one.text for one in questions} == {"water the plants", "burn it down"}
    assert begun == ["water the plants"]


async def test_k9_what_is_decided_on_is_shown_whole_or_says_that_it_is_cut(shop: Live) -> None:
    """Nothing hides behind a harmless beginning."""
    async with at_work(shop):
        task_id = await give(shop, "ops", "Water the plants. " * 30 + "Then burn it down.")
        await asked(shop, task_id)
        shown = await command(shop, "approvals")
        assert "Then burn it down." in shown.stdout
        long = await give(shop, "ops", ("Water the plants. " * 4000)[:65_000] + "Then burn it down.")
        question = await asked(shop, long)
        assert question.text.endswith("Then burn it down.")
        one = await command(shop, "approvals", long[:12])
        assert one.stdout.count(question.text) == 1
        assert task_id not in one.stdout


async def test_k9_a_pool_asks_once_whichever_member_looks(tmp_path: Path) -> None:
    """The task goes from one gateway to the other while it waits: a person has one question, and a plain yes does."""
    more = '[[gateways]]\nid = "east"\nkind = "program"\n[[agents]]\nid = "one"\ngateway = "east"\n'
    more += '[[pools]]\nid = "pair"\nmembers = ["dev", "one"]\n'
    async with live(tmp_path, None, toml=TOML.format(port=free_ports(1)[0]) + more) as company:
        task = make_task(company.org, "ceo", NewTask("pair", "x", needs_approval=True))
        for key, member in (("gw-shop", "dev"), ("gw-east", "one")):
            gateway = key.removeprefix("gw-")
            with Ledger(company.company.home.ledger(gateway)) as ledger:
                async with company.company.connect(key) as bus:
                    outbox = Outbox(bus, ledger, company.company.subjects, None)
                    oversight_gate = OversightGate(company.org, outbox, company.company.history(bus))
                    assert not (await oversight_gate.may_start(task, member)).go
                    await outbox.drain()
        async with company.owner() as bus:
            assert len(await waiting(bus, company.company)) == 1


async def test_k9_a_question_that_another_asks_in_its_place_decides_nothing(shop: Live) -> None:
    """It shows the person another text about the same task: his yes to that is no yes to the real one."""
    async with at_work(shop) as begun:
        task_id = await give(shop, "ops", "sell the company")
        real = await asked(shop, task_id)
        detail = {"side": "dispatch", "to": "boss", "for": "ceo", "text": "sell the old chair", "digest": real.digest}
        async with shop.company.connect("gw-shop") as bus:
            event = Event(
                id=new_message_id("dev"), kind="waiting_approval", task_id=task_id, sender="dev", detail=detail
            )
            await bus.publish(f"acme.events.{task_id}.dev", event.encode(), msg_id=event.id)
        fake = next(one for one in await until(lambda: two(shop, task_id), "both", 20) if one.agent == "dev")
        async with shop.company.connect_person("boss") as (bus, me):
            await decide(bus, shop.company, me, task_id, approved=True, code=fake.code)
        await looked_at_anew(shop)
        async with shop.owner() as bus:
            assert {one.agent for one in await waiting(bus, shop.company) if one.task_id == task_id} == {"ops"}
    assert begun == ["and another"]


async def test_k9_who_gives_a_task_can_ask_for_a_persons_word(shop: Live) -> None:
    """needs_approval: nobody watches that agent, and the person above the requester is asked."""
    async with at_work(shop) as begun:
        task_id = await give(shop, "dev", "spend it all", needs_approval=True)
        question = await asked(shop, task_id)
        assert (question.side, question.agent, begun) == ("dispatch", "dev", [])
        assert await until(lambda: mail_for(shop, "owner"), "the mail", 10)
        await say(shop, task_id, False, why="no")
        assert (await end_of(shop, task_id, "dev")).envelope.body == "owner did not let it start: no"


async def looked_at_anew(shop: Live) -> None:
    """Until what waits has been looked at again: one that was given later is let in, and that takes a further look."""
    again = await give(shop, "ops", "and another")
    await asked(shop, again)
    await say(shop, again, True)
    assert (await end_of(shop, again, "ops")).status == "done"


async def two(shop: Live, task_id: str) -> list[Approval]:
    async with shop.owner() as bus:
        found = [one for one in await waiting(bus, shop.company) if one.task_id == task_id]
    return found if len(found) == 2 else []


async def events(shop: Live, task_id: str) -> list[Event]:
    async with shop.owner() as bus:
        return await shop.company.history(bus).events(task_id)


async def raised(shop: Live, task_id: str) -> Alert:
    async def look() -> Alert | None:
        async with shop.owner() as bus:
            found = await Alerts(bus, shop.company.subjects).raised("approval")
        return next((one for one in found if one.detail.get("task") == task_id), None)

    return await until(look, "the alert", 10)


async def cleared(shop: Live, key: str) -> bool:
    async with shop.owner() as bus:
        return all(one.key != key for one in await Alerts(bus, shop.company.subjects).raised("approval"))


async def approve_as(bus: Bus, question: Approval, sender: str) -> None:
    """An approval as a person's command would write it, by somebody else."""
    detail = {"side": question.side, "to": question.agent, "digest": question.digest}
    event = Event(id=new_message_id(sender), kind="approved", task_id=question.task_id, sender=sender, detail=detail)
    await bus.publish(f"acme.events.{question.task_id}.{sender}", event.encode(), msg_id=event.id)
