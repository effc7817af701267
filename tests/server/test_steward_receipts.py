"""Receipts of broadcasts, on a real nats-server with the agents' real nodes."""

from __future__ import annotations

from pathlib import Path

from clawbus.client.person import Person
from clawbus.steward.meeting import members
from clawbus.tasks.new_message import NewMessage, make_message
from clawbus.wire.envelope import Type
from tests.company import Live, until
from tests.server.office import alert_of, clawbus, mail_of, office, steward

SOON = 'policies.receipts = "1s"'


async def told_everyone(company: Live, kind: Type = "message", to: str = "all") -> str:
    """A broadcast of the owner. Returns its thread."""
    mail = make_message(company.org, "owner", NewMessage(to, "the office moves", kind, "moving"))
    async with company.owner() as bus:
        await Person(company.company, bus, "owner").send(mail)
    return mail.task_id or ""


async def read(company: Live, gateway: str, agent: str) -> None:
    """An agent reads its inbox, once something is there."""

    async def look() -> bool:
        answer = await company.tool(gateway, agent, "nats_inbox", action="read")
        assert answer["ok"], answer
        return bool(answer["data"]["messages"])

    await until(look, f"mail for {agent}")


async def test_g4_who_has_not_seen_a_broadcast_is_flagged_until_he_has(tmp_path: Path) -> None:
    """One of three reads it: the other two are named to people and to the sender; when they have read it, the flag goes."""
    async with office(tmp_path, head=SOON) as company:
        await company.start("node-hq", "node-lab", "node-sec")
        thread = await told_everyone(company)
        await read(company, "lab", "cto")
        async with steward(company):
            alert = await alert_of(company, "receipts", thread, True)
            assert (alert.detail["agents"], alert.detail["missing"]) == (
                ["ceo", "cto", "security"],
                ["ceo", "security"],
            )
            assert "(moving) was seen by 1 of 3 within 1s; not by: ceo, security." in alert.text
            assert (await mail_of(company, "owner", subject="not seen by all")).body == alert.text
            code, shown = await clawbus(company, "receipts", thread[:8])
            assert code == 0
            assert [one["agent"] for one in shown["agents"] if one["seen_at"]] == ["cto"]
            await read(company, "hq", "ceo")
            await read(company, "sec", "security")
            await alert_of(company, "receipts", thread, False)


async def test_nobody_waits_for_the_receipt_of_a_program(tmp_path: Path) -> None:
    """A program reads no mail: it would stand in an alert for ever. Neither is it asked to contribute to a meeting."""
    program = '[[gateways]]\nid = "ci"\nkind = "program"\n[[agents]]\nid = "builder"\nteam = "exec"\ngateway = "ci"\n'
    async with office(tmp_path, program, head=SOON) as company:
        await company.start("node-hq", "node-lab", "node-sec")
        thread = await told_everyone(company)
        async with steward(company):
            alert = await alert_of(company, "receipts", thread, True)
            assert alert.detail["agents"] == ["ceo", "cto", "security"]
            for gateway, agent in (("hq", "ceo"), ("lab", "cto"), ("sec", "security")):
                await read(company, gateway, agent)
            await alert_of(company, "receipts", thread, False)
    assert "builder" not in members(company.org, "all")


async def test_g4_what_all_have_seen_is_not_flagged(tmp_path: Path) -> None:
    """Of two broadcasts, one of which nobody read, only that one is."""
    async with office(tmp_path, head=SOON) as company:
        await company.start("node-hq", "node-lab", "node-sec")
        seen = await told_everyone(company)
        for gateway, agent in (("hq", "ceo"), ("lab", "cto"), ("sec", "security")):
            await read(company, gateway, agent)
        lost = await told_everyone(company)
        async with steward(company) as one:
            await alert_of(company, "receipts", lost, True)
            assert [alert.key for alert in await one.context.alerts.all()] == [lost]
            assert seen != lost


async def test_a_report_that_asks_for_no_attention_waits_for_no_receipt(tmp_path: Path) -> None:
    """A report wakes nobody: it may lie unread without a flag."""
    async with office(tmp_path, head=SOON) as company, steward(company) as one:
        quiet = await told_everyone(company, "report", "team:exec")
        loud = await told_everyone(company)
        await alert_of(company, "receipts", loud, True)
        assert [alert.key for alert in await one.context.alerts.all()] == [loud]
        assert quiet not in await one.context.timer_keys("receipts")
