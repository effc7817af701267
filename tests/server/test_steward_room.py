"""A stream that fills up, on a real nats-server: people hear in time, and what is full stops no more than it must."""

from __future__ import annotations

from pathlib import Path

import pytest

from clawbus.errors import OverBudget, Refused
from clawbus.provision.streams import stream_configs
from clawbus.tasks import NewTask, make_task
from clawbus.tasks.budget_account import spend_of
from clawbus.wire.channels import ENDS, SPEND
from clawbus.wire.envelope import Envelope
from tests.company import Live
from tests.server.office import HQ, alert_of, office, steward
from tests.server.test_odd_cases import CEO, arrived, node, said
from tests.trying import trying


async def bound(company: Live, size_bytes: int, stream: str = SPEND) -> None:
    """Make a stream that large."""
    config = next(one for one in stream_configs(company.org) if one["name"] == stream)
    async with company.company.connect("provisioner") as bus:
        await bus.api(f"STREAM.UPDATE.{stream}", config | {"max_bytes": size_bytes})


async def fill(company: Live, key: str, sender: str, to: str) -> Envelope:
    """Reserve turns of new trees until the server takes no more; returns what was refused."""
    async with company.company.connect(key) as bus:
        spend = spend_of(bus, company.org)
        while True:
            task = make_task(company.org, sender, NewTask(to, "x"))
            try:
                await spend.reserve(task)
            except OverBudget:
                raise
            except Refused:
                return task


async def test_a_stream_that_is_nearly_full_is_an_alert_that_clears_by_itself(tmp_path: Path) -> None:
    """It says which, how full, and who has written there last; what has room is said nothing of."""
    async with office(tmp_path) as company, steward(company) as one:
        room = next(duty for duty in one.duties if duty.rule == "room")
        await bound(company, 20_000)
        await fill(company, HQ, "ceo", "cto")
        await room.tick()
        alert = await alert_of(company, "room", "spend", True)
        assert alert.detail["percent"] > 75
        assert "The stream SPEND holds" in alert.text
        assert "Its last 20 messages: 20 of ceo." in alert.text
        assert [one.key for one in await one.context.alerts.raised("room")] == ["spend"]
        await bound(company, 1_000_000)
        await room.tick()
        await alert_of(company, "room", "spend", False)


async def test_a_thief_who_fills_a_stream_with_subjects_of_no_task_is_named(tmp_path: Path) -> None:
    """The server holds a key to the last word of a subject only: the others are no reason to look away."""
    async with office(tmp_path) as company, steward(company) as one:
        room = next(duty for duty in one.duties if duty.rule == "room")
        await bound(company, 20_000, ENDS)
        async with trying(company.org.url, company.company.identity(HQ).creds_file) as thief:
            for number in range(40):
                assert await thief.may_publish(f"{company.org.company}.end.NOT_A_TASK{number}.ceo", b"x" * 500)
        await room.tick()
        assert (await alert_of(company, "room", "ends", True)).detail["percent"] > 75
        assert "unsigned" in (await alert_of(company, "forged", "ceo", True)).text


async def test_mail_arrives_while_the_accounts_are_full(bus_only: Live, tmp_path: Path) -> None:
    """Its turn cannot be counted, so it waits for the digest; it does not stay on the bus."""
    async with node(bus_only, tmp_path) as (hq, bus, ledger):
        await bound(bus_only, 5_000)
        refused = await fill(bus_only, "gw-hq", CEO, "cto-athena")
        with pytest.raises(Refused, match="no room: the stream SPEND holds as much as it may"):
            await spend_of(bus, bus_only.org).reserve(refused)
        await hq.reader.handle(arrived(bus_only, said(priority="high", body="urgent")))
        assert [(one.envelope.body, one.asks) for one in ledger.mail.fresh(CEO)] == [("urgent", "digest")]
