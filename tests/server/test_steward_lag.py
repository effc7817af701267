"""Lag, on a real nats-server: too many waiting tasks raise an alert, and it clears by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

from clawbus.client.watch import watching
from clawbus.tasks import NewTask
from tests.server.office import alert_of, clawbus, give, mail_of, office, steward, work


async def test_g9_lag_above_five_is_an_alert_that_clears_by_itself(tmp_path: Path) -> None:
    """Five waiting tasks are none, a sixth is; once one of them is done, nobody has to clear anything."""
    async with office(tmp_path) as company, steward(company) as one:
        for number in range(5):
            await give(company, NewTask("cto", f"task {number}"))
        await next(duty for duty in one.duties if duty.rule == "lag").tick()
        assert (await clawbus(company, "alerts")) == (0, [])
        await give(company, NewTask("cto", "one too many"))
        alert = await alert_of(company, "lag", "cto", True)
        assert (alert.detail["waiting"], alert.detail["bound"]) == (6, 5)
        assert (await mail_of(company, subject="alert: lag cto")).priority == "high"
        code, shown = await clawbus(company, "alerts")
        assert (code, [(row["rule"], row["key"]) for row in shown]) == (1, [("lag", "cto")])
        await work(company)
        await alert_of(company, "lag", "cto", False)
        assert (await clawbus(company, "alerts")) == (0, [])


async def test_an_alert_is_on_the_screen_as_it_is_raised(tmp_path: Path) -> None:
    """Who looks at `clawbus up` sees it, and sees it go."""
    async with (
        office(tmp_path) as company,
        steward(company) as one,
        company.owner() as bus,
        watching(bus, company.company.subjects) as heard,
    ):
        for raised in (True, False):
            await one.context.alert("seen", "cto", raised, "cto waves")  # a rule of no duty: none clears it by itself
        shown = [await asyncio.wait_for(heard.get(), 10) for _ in range(2)]
    assert [(event.kind, event.detail) for event in shown] == [
        ("alert", "seen cto: cto waves"),
        ("cleared", "seen cto: cto waves"),
    ]
