"""Recurring work: by timers of a real nats-server, through restarts of it and of the stewards."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbus.errors import InvalidInput
from clawbus.org import STEWARD, parse
from clawbus.org.cron import Cron
from clawbus.steward.context import Context
from clawbus.steward.duties.recurring import Recurring
from clawbus.tasks import NewTask, make_task
from clawbus.wire.channels import ALERTS, TASKS, TIMERS
from clawbus.wire.envelope import Envelope
from tests.company import Live, until
from tests.server.office import mail_of, office, office_toml, steward, stored, work

CHECK = """
[[recurring]]
id = "health"
to = "cto"
task = "Is the site up?"
every = "1s"
"""


async def waiting(company: Live) -> list[Envelope]:
    return await stored(company, TASKS, company.company.subjects.task("cto", "medium", STEWARD))


async def given_task(company: Live) -> Envelope:
    async def look() -> Envelope | None:
        return next(iter(await waiting(company)), None)

    return await until(look, "a recurring task")


async def timer(company: Live, key: str = "health") -> dict[str, str] | None:
    async with company.owner() as bus:
        return await Context(company.org, bus).timer("recurring", key)


async def fired(company: Live) -> int:
    """How far the timers have come: each setting and each firing is a message."""
    async with company.owner() as bus:
        return int((await bus.api(f"STREAM.INFO.{TIMERS}"))["state"]["last_seq"])


async def test_a7_work_comes_again_and_its_result_is_reported(tmp_path: Path) -> None:
    """Every second a task, but not a second one while the last is open; the result goes to a person, as a report."""
    async with office(tmp_path, CHECK) as company, steward(company):
        first = await given_task(company)
        assert (first.sender, first.body, first.subject) == (STEWARD, "Is the site up?", "recurring: health")
        before = await fired(company)

        async def rounds() -> bool:
            return await fired(company) >= before + 6

        await until(rounds, "three more times due")
        assert [one.task_id for one in await waiting(company)] == [first.task_id]
        await work(company, "all green")
        report = await mail_of(company, type="report", task_id=first.task_id)
        assert (report.sender, report.parent) == (STEWARD, first.parent)
        assert "ended as done, written by cto" in report.body
        assert "all green" in report.body

        async def next_one() -> Envelope | None:
            return next((one for one in await waiting(company) if one.task_id != first.task_id), None)

        assert (await until(next_one, "the next task")).parent == first.parent


async def test_a7_two_stewards_give_it_once(tmp_path: Path) -> None:
    """Each time that is due is one steward's."""
    async with office(tmp_path, CHECK) as company, steward(company), steward(company):
        tasks = [await work(company, str(number)) for number in range(3)]
        assert len({task.task_id for task in tasks}) == 3
        for task in tasks:
            await mail_of(company, type="report", task_id=task.task_id)


async def starts(company: Live, more: str) -> dict[str, str] | None:
    """A steward starts with this org.toml. Returns the timer as it stands then."""
    head = company.org_file.read_text().partition("[[recurring]]")[0]
    org = parse(tomllib.loads(head + more))
    async with company.company.connect("steward") as bus:
        duty = Recurring(Context(org, bus))
        await duty.on_start()
        await duty.tick()
    return await timer(company)


async def test_a7_a_restarted_steward_does_not_begin_the_interval_anew(tmp_path: Path) -> None:
    """What the server holds goes on; a changed entry is set anew, one that left org.toml is taken back."""
    daily, other = CHECK.replace('"1s"', '"1d"'), CHECK.replace('"1s"', '"2d"')
    async with office(tmp_path, daily) as company:
        first = await starts(company, daily)
        began = datetime.now(UTC)

        async def later() -> bool:
            return datetime.now(UTC) > began + timedelta(seconds=1.1)

        await until(later, "another second, so that a new interval would show")
        assert first is not None
        assert await starts(company, daily) == first
        moved = await starts(company, other)
        assert moved is not None
        assert moved["schedule"] == "every 172800 s"
        assert await starts(company, "") is None
        assert await starts(company, other) is not None


async def test_a7_a_time_in_an_outage_comes_once_after_it(tmp_path: Path) -> None:
    """Server and steward are away while it is due twice: one task when they are back, and the beat goes on."""
    async with office(tmp_path, CHECK.replace('"1s"', '"2s"')) as company:
        async with steward(company):
            held = await until(lambda: timer(company), "the timer")
        company.kill("nats-server")
        due = datetime.fromisoformat(held["due"])

        async def over() -> bool:
            return datetime.now(UTC) > due + timedelta(seconds=3)

        await until(over, "two times due")
        await company.start("nats-server")
        async with steward(company):
            task = await given_task(company)
            async with company.company.connect("steward") as bus:
                assert task.task_id == Context(company.org, bus).given("recurring", "health", due)["task_id"]
            held = await until(lambda: timer(company), "the next timer")
            late = datetime.fromisoformat(held["due"]) - due
            assert late.total_seconds() % 2 == 0
            assert late.total_seconds() >= 4


async def test_a_full_queue_raises_an_alert_that_clears(tmp_path: Path) -> None:
    """The steward's quota is the same as anybody's: a time for which there is no room is left out, and said once."""
    async with office(tmp_path, CHECK, head="policies.quota = 1") as company:
        async with company.company.connect("steward") as bus:
            other = make_task(company.org, STEWARD, NewTask("cto", "in the way"))
            subject = company.company.subjects.task("cto", "medium", STEWARD)
            await bus.publish(subject, other.encode(), msg_id=other.id)
        async with steward(company):
            alert = await mail_of(company, subject="alert: recurring health")
            assert "backlog" in alert.body
            await work(company)
            assert (await work(company)).subject == "recurring: health"

            async def cleared() -> bool:
                async with company.owner() as bus:
                    subject = company.company.subjects.build("alerts", STEWARD, rule="recurring", key="health")
                    last = await bus.last_message(ALERTS, subject)
                return last is not None and not json.loads(last.data)["raised"]

            await until(cleared, "the alert cleared")


@given(st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1)), st.sampled_from([
    "* * * * * *", "0 */15 * * * *", "0 0 9 * * mon-fri", "30 30 6 13 * fri", "0 0 0 29 2 *", "5,10 0 1-3 */7 jan,jul ?",
]))  # fmt: skip
def test_the_next_time_of_a_cron_line_fits_and_none_before_it_does(moment: datetime, line: str) -> None:
    """Against the definition: walk up to it in steps that cannot jump over a fitting time."""
    cron, moment = Cron.parse(line), moment.replace(tzinfo=UTC)
    found = cron.after(moment)
    assert found > moment

    def fits(at: datetime) -> bool:
        day, weekday = at.day in cron.days, at.isoweekday() % 7 in cron.weekdays
        on = (day or weekday) if line == "30 30 6 13 * fri" else (day and weekday)
        clock = at.second in cron.seconds and at.minute in cron.minutes and at.hour in cron.hours
        return on and clock and at.month in cron.months

    assert fits(found)
    at = max(moment.replace(microsecond=0) + timedelta(seconds=1), found - timedelta(hours=2))
    while at < found:
        assert not fits(at)
        at += timedelta(seconds=1)


@pytest.mark.parametrize("line", ["* * * * *", "0 0 25 * * *", "0 0 0 31 2 *", "x * * * * *", "0 0 0 * * fri-mon", ""])
def test_a_cron_line_that_says_nothing_is_a_mistake_of_org_toml(line: str, tmp_path: Path) -> None:
    """`clawbus check` finds it, with what would be right."""
    text = office_toml(CHECK.replace('every = "1s"', f'cron = "{line}"'))
    with pytest.raises(InvalidInput, match="mistake") as caught:
        Live(tmp_path, text, None, "")
    assert "recurring[health].cron" in caught.value.remedy
