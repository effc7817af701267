"""Meetings: agenda out, contributions in, one report to all; on a real nats-server, through a killed steward."""

from __future__ import annotations

import asyncio
import json
import subprocess
from datetime import timedelta
from pathlib import Path

from clawbus.org import STEWARD
from clawbus.steward import meeting
from clawbus.steward.context import Context
from clawbus.steward.meeting import Meeting
from clawbus.tasks.new_message import NewMessage, make_message
from clawbus.wire.channels import BCAST
from clawbus.wire.envelope import Envelope, Type, now
from clawbus.wire.subjects import new_message_id, new_task_id
from tests.command import clawbus
from tests.company import Live, until
from tests.server.office import HQ, LAB, SEC, mail_of, office, steward, stored

STANDUP = """
[[recurring]]
id = "standup"
meeting = "exec"
agenda = "What hinders you?"
lasts = "2s"
every = "3s"
"""


KEYS = {"ceo": HQ, "cto": LAB, "security": SEC, "owner": "me-owner", "stranger": HQ}


async def said(company: Live, kind: Type, meeting_id: str = "") -> list[Envelope]:
    """What the steward has said to the team so far."""
    found = await stored(company, BCAST, company.company.subjects.build("team", STEWARD, team="exec"))
    return [one for one in found if one.type == kind and meeting_id in ("", one.task_id)]


async def agenda_of(company: Live, *but: str) -> Envelope:
    """The agenda of the next meeting that is none of these."""

    async def look() -> Envelope | None:
        return next((one for one in await said(company, "message") if one.task_id not in but), None)

    return await until(look, "an agenda")


async def report_of(company: Live, meeting_id: str) -> Envelope:
    async def look() -> Envelope | None:
        return next(iter(await said(company, "report", meeting_id)), None)

    return await until(look, f"the report of {meeting_id}")


async def contribute(company: Live, who: str, meeting_id: str, text: str) -> None:
    """As nats_pub sends it."""
    mail = make_message(company.org, who, NewMessage(f"topic:meeting.{meeting_id}", text, "contribution"))
    subject = company.company.subjects.build("topics", who, kind="meeting", name=meeting_id)
    async with company.company.connect(KEYS[who]) as bus:
        await bus.publish(subject, mail.encode(), msg_id=mail.id)


async def call(company: Live, lasts_s: int, sender: str = "owner", key: str = "me-owner") -> str:
    """An order as `clawbus meet` sends it. Returns the meeting's id."""
    body = json.dumps({"of": "exec", "agenda": "Ship it?", "lasts_s": lasts_s})
    note = Envelope(
        id=new_message_id(sender),
        type="control",
        sender=sender,
        to=STEWARD,
        task_id=new_task_id(),
        subject="meet",
        body=body,
    )
    async with company.company.connect(key) as bus:
        await bus.publish(company.company.subjects.ctl(STEWARD, sender), note.encode(), msg_id=note.id)
    return note.task_id or ""


async def test_a7_a_meeting_by_itself_from_agenda_to_report(tmp_path: Path) -> None:
    """When it is due the agenda goes out and asks for a turn; of one member the last word counts, of others none; one
    report at the deadline names who was silent, and the owner has it, too."""
    async with office(tmp_path, STANDUP) as company, steward(company):
        agenda = await agenda_of(company)
        meeting_id = agenda.task_id or ""
        assert (agenda.priority, agenda.to) == ("high", "exec")
        assert "What hinders you?" in agenda.body
        assert f"topic:meeting.{meeting_id}" in agenda.body
        await contribute(company, "ceo", meeting_id, "nothing")
        await contribute(company, "cto", meeting_id, "the old word")
        await contribute(company, "cto", meeting_id, "flaky tests")
        report = await report_of(company, meeting_id)
        assert agenda.expires_at is not None
        assert report.created_at >= agenda.expires_at
        assert "## ceo\n> nothing\n\n## cto\n> flaky tests\n\nNot heard: security." in report.body
        assert "the old word" not in report.body
        assert (await mail_of(company, task_id=meeting_id, type="report")).body == report.body
        await agenda_of(company, meeting_id)  # the next one
        assert len(await said(company, "report", meeting_id)) == 1


async def test_a7_it_ends_early_when_all_have_contributed(tmp_path: Path) -> None:
    """Nobody waits for a deadline when everything has been said; what a stranger to the team says does not count."""
    strangers = '[[agents]]\nid = "stranger"\nteam = "other"\ngateway = "hq"'
    async with office(tmp_path, strangers) as company, steward(company):
        meeting_id = await call(company, 3600)
        await agenda_of(company)
        await contribute(company, "stranger", meeting_id, "buy my product")
        for who in ("ceo", "cto"):
            await contribute(company, who, meeting_id, f"yes, says {who}")
        await contribute(company, "owner", meeting_id, "and I agree")
        assert await said(company, "report") == []
        await contribute(company, "security", meeting_id, "yes, says security")
        report = await report_of(company, meeting_id)
        assert "Everyone has contributed." in report.body
        assert "## owner\n> and I agree" in report.body
        assert "buy my product" not in report.body


async def test_a7_two_stewards_and_a_killed_one_hold_it_once(tmp_path: Path) -> None:
    """One steward begins it and goes away in the middle; two others end it: one agenda, one report."""
    async with office(tmp_path, head='policies.lease = "5s"') as company:
        async with steward(company):
            meeting_id = await call(company, 2)
            await agenda_of(company)
        async with steward(company), steward(company):
            await contribute(company, "cto", meeting_id, "here")
            await report_of(company, meeting_id)
            other = await call(company, 1)  # and one more, so that both have had time to repeat themselves
            await report_of(company, other)
        assert len(await said(company, "report", meeting_id)) == 1
        assert len(await said(company, "message", meeting_id)) == 1


async def test_beginning_and_ending_again_after_a_crash_changes_nothing(tmp_path: Path) -> None:
    """A steward that died before its ack is followed by one that does the same again."""
    async with office(tmp_path) as company, company.company.connect("steward") as bus:
        context = Context(company.org, bus)
        held = Meeting(new_task_id(), "exec", "Again?", now() + timedelta(seconds=60), "owner")
        await meeting.begin(context, held)
        await meeting.begin(context, held)
        (known,) = await meeting.open_meetings(context)
        await meeting.end(context, known)
        await meeting.end(context, known)
        await meeting.begin(context, held)
        assert await meeting.open_meetings(context) == []
        assert len(await said(company, "message")) == 1
        assert len(await said(company, "report")) == 1


async def test_only_people_call_meetings(tmp_path: Path) -> None:
    """An agent's order is not obeyed."""
    async with office(tmp_path) as company, steward(company):
        refused = await call(company, 1, "ceo", HQ)
        obeyed = await call(company, 1)
        await report_of(company, obeyed)
        assert [one.task_id for one in await said(company, "message")] == [obeyed]
        assert refused != obeyed


async def test_a_person_calls_one_from_the_terminal(tmp_path: Path) -> None:
    """`clawbus meet --wait` prints the report; a team that is not there is refused before anything is sent."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return clawbus(*words, "--org", str(tmp_path / "org.toml"))

    async with office(tmp_path) as company, steward(company):
        done = await asyncio.to_thread(run, "meet", "all", "--agenda", "Ship it?", "--for", "1s", "--wait")
        assert done.returncode == 0, done.stderr
        assert "Not heard: ceo, cto, security." in done.stdout
        (said,) = {one.task_id for one in await stored(company, BCAST, "*.all.steward")}
        receipts = await asyncio.to_thread(run, "receipts", str(said))
        assert receipts.returncode == 0, receipts.stderr
        nobody = await asyncio.to_thread(run, "meet", "nobody", "--agenda", "Ship it?")
        assert nobody.returncode == 2
        assert "There are: all, exec." in nobody.stderr
    del company
