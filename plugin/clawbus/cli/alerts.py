"""`clawbus alerts`: what is wrong in the company now, as its stewards see it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clawbus.cli.options import ID_CHARS, as_option, json_option, org_option, run_async
from clawbus.cli.output import moment, print_json, put_line, put_text, short
from clawbus.disk import full

if TYPE_CHECKING:
    from clawbus.client.company import Company
    from clawbus.steward.alert_states import Alert


@click.command()
@click.option("--all", "also_cleared", is_flag=True, help="Also those that are cleared.")
@as_option
@org_option
@json_option
@run_async
async def alerts_command(also_cleared: bool, person: str | None, org_file: Path, as_json: bool) -> int:
    """List what is raised: lag, broken deadlines, dead letters, broadcasts not seen, blockers nobody answers.

    Exit code 0 when nothing is raised, 1 otherwise.
    """
    from clawbus.client.company import Company
    from clawbus.steward.alert_states import Alerts

    company = Company.open(org_file)
    async with company.connect_person(person) as (bus, _):
        alerts = await Alerts(bus, company.subjects).all()
    if not any((alert.rule, alert.key, alert.raised) == ("room", "disk", True) for alert in alerts):
        alerts += _of_the_disk(company)
    shown = [alert for alert in alerts if alert.raised or also_cleared]
    if as_json:
        print_json([alert.as_json() for alert in shown])
    for alert in [] if as_json else shown:
        key = short(alert.key) if len(alert.key) == ID_CHARS else alert.key
        put_line(f"{moment(alert.at)}  {'raised ' if alert.raised else 'cleared'}  {alert.rule} {key}")
        put_text(alert.text.rstrip(), indent=4)
    if not shown and not as_json:
        put_line("Nothing is raised.")
    return 1 if any(alert.raised for alert in alerts) else 0


def _of_the_disk(company: Company) -> list[Alert]:
    """The alert `room disk` of a full disk, on which no steward can write it."""
    from clawbus.steward.alert_states import Alert

    error = full(company.store, "nothing more is kept") if company.store is not None else None
    return [Alert("room", "disk", True, str(error), datetime.now(UTC))] if error is not None else []
