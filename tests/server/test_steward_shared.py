"""Any number of stewards, no leader: two act once, and the death of one changes nothing."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

from clawbus.org import STEWARD
from clawbus.steward.duty import Duty
from clawbus.steward.steward import Steward
from clawbus.tasks import NewTask
from clawbus.wire.channels import ENDS, EVENTS, INBOX, TASKS
from clawbus.wire.envelope import Envelope
from clawbus.wire.events import Event, decode_event
from clawbus.wire.subjects import new_message_id, new_task_id
from tests.company import Live, until
from tests.server.office import as_signed, give, office, steward, stored

TASK_COUNT = 12


async def said(company: Live) -> Counter[tuple[str, str]]:
    """How often the stewards have said what of which task or thread."""
    subjects = company.company.subjects
    async with company.owner() as bus:
        found = await bus.stored(EVENTS, subjects.filter("events", STEWARD, task="*"))
    events = [decode_event(one.data, subjects.parse(one.subject)) for one in found]
    return Counter((event.kind, event.task_id) for event in events)


async def told(company: Live, who: str) -> Counter[str]:
    """How often each message of the stewards lies in an inbox, by what it is about."""
    mails = await stored(company, INBOX, company.company.subjects.dm(who, STEWARD))
    return Counter(f"{mail.type} {mail.task_id} {mail.subject}" for mail in mails)


def duty(one: Steward, rule: str) -> Duty:
    return next(duty for duty in one.duties if duty.rule == rule)


async def test_two_stewards_act_once(tmp_path: Path) -> None:
    """Two that handle the same timer, letter or order at the same moment: each effect is there once."""
    async with (
        office(tmp_path) as company,
        company.company.connect("steward") as a,
        company.company.connect("steward") as b,
    ):
        stewards = [Steward(company.org, a), Steward(company.org, b)]
        for one in stewards:
            await one.halt.read()
        task = await give(company, NewTask("cto", "x", ack_within_s=1))
        task_id = task.task_id or ""
        breach = [duty(one, "deadlines").on_timer(task_id, {"what": "ack"}) for one in stewards]
        await asyncio.gather(*breach)
        thread = stewards[0].context.task_id("deadlines", task_id, "ack")
        await asyncio.gather(*(duty(one, "escalation").on_timer(thread, {"asked": 1}) for one in stewards))
        await asyncio.gather(*(duty(one, "deadlines").on_timer(task_id, {"what": "end"}) for one in stewards))
        letter = {"v": 1, "reason": "r", "subject": "s", "envelope": task.model_dump(mode="json", by_alias=True)}
        letter["signed"] = await as_signed(company, task)
        async with company.company.connect("gw-lab") as lab:
            subject = company.company.subjects.build("dead", "cto", task=task_id)
            await lab.publish(subject, json.dumps(letter).encode(), msg_id=new_message_id("cto"))
        await asyncio.gather(*(duty(one, "dead").on_dead(task_id, letter) for one in stewards))
        order = Envelope(
            id="order", type="control", sender="owner", to=STEWARD, task_id=task_id, body=json.dumps({"do": "redrive"})
        )
        await asyncio.gather(*(duty(one, "dead").on_control(order) for one in stewards))
        again = stewards[0].context.given("dead", task_id, 1)["task_id"]
        assert await said(company) == {
            ("breached", task_id): 1,
            ("raised", thread): 1,
            ("escalated", thread): 1,
            ("chained", task_id): 1,
            ("accepted", again): 1,
        }
        assert set((await told(company, "ceo")).values()) == {1}
        assert set((await told(company, "owner")).values()) == {1}
        assert len(await stored(company, TASKS, company.company.subjects.task("cto", "medium", STEWARD))) == 1
        assert len(await stored(company, ENDS, company.company.subjects.ends_of(task_id))) == 1


async def test_a_steward_killed_changes_nothing(tmp_path: Path) -> None:
    """Of two processes one is killed in the middle of its work: every breach is told, and none twice."""
    async with office(tmp_path, head='policies.lease = "5s"') as company:
        company.launch("steward-1")
        company.launch("steward-2")

        async def both_pull() -> bool:
            async with company.company.connect("provisioner") as bus:
                return bool((await bus.api("CONSUMER.INFO.TIMERS.steward"))["num_waiting"] == 2)

        await until(both_pull, "two stewards at work")
        tasks = [await give(company, NewTask("cto", f"task {n}", ack_within_s=1)) for n in range(TASK_COUNT)]

        async def begun() -> bool:
            return any(kind == "breached" for kind, _ in await said(company))

        await until(begun, "the first breach")
        company.kill("steward-1")

        async def all_told() -> bool:
            return sum((await told(company, "ceo")).values()) >= TASK_COUNT

        await until(all_told, "every breach at the superior", 40)
        expected = {("breached", task.task_id): 1 for task in tasks}
        found = await said(company)
        assert {key: count for key, count in found.items() if key[0] == "breached"} == expected
        assert set((await told(company, "ceo")).values()) == {1}


async def test_what_one_duty_cannot_do_the_others_still_do(tmp_path: Path) -> None:
    """A duty that fails on a message keeps nobody else from it."""

    class Broken(Duty):
        rule = "broken"

        async def on_event(self, event: Event) -> None:
            raise RuntimeError("a bug")

    class Hears(Duty):
        rule = "hears"
        heard = asyncio.Event()

        async def on_event(self, event: Event) -> None:
            self.heard.set()

    async with office(tmp_path) as company, steward(company) as one:
        one.duties[:] = [Broken(one.context), Hears(one.context)]
        event = Event(id=new_message_id("ceo"), kind="progress", task_id=new_task_id(), sender="ceo")
        async with company.company.connect("gw-hq") as bus:
            subject = company.company.subjects.event(event.task_id, "ceo")
            await bus.publish(subject, event.encode(), msg_id=event.id)
        await asyncio.wait_for(Hears.heard.wait(), 10)
