"""`clawbus approvals`, `approve`, `refuse`: what waits for a person, and the person's word."""

from __future__ import annotations

from pathlib import Path

import click

from clawbus.approving import decide, waiting
from clawbus.cli.options import as_option, json_option, org_option, print_json, run_async
from clawbus.company import Company
from clawbus.show import inert


@click.command()
@as_option
@org_option
@json_option
@run_async
async def approvals_command(person: str | None, org_file: Path, as_json: bool) -> int:
    """List what waits for a person's decision, the oldest first."""
    company = Company.open(org_file)
    async with company.connect_person(person) as (bus, _):
        found = await waiting(bus, company)
    if as_json:
        print_json([one.as_json() for one in found])
        return 0
    for one in found:
        what = "wants to start" if one.side == "dispatch" else "has a report"
        click.echo(
            inert(f"{one.task_id}  {one.at:%m-%d %H:%M}  {one.agent} {what}, for {one.requester}  {one.label}".rstrip())
        )
        click.echo(inert("    " + one.text[:300].replace("\n", "\n    ")))
    click.echo("Decide with `clawbus approve ID` or `clawbus refuse ID`." if found else "Nothing waits for a decision.")
    return 0


@click.command()
@click.argument("task", metavar="ID")
@as_option
@org_option
@run_async
async def approve_command(task: str, person: str | None, org_file: Path) -> int:
    """Let what waits go on: the task starts, or its report goes out."""
    return await _decide(org_file, person, task, "approved", "")


@click.command()
@click.argument("task", metavar="ID")
@click.option("--why", default="", help="The requester hears it.")
@as_option
@org_option
@run_async
async def refuse_command(task: str, why: str, person: str | None, org_file: Path) -> int:
    """Stop what waits: the task ends as failed, with the reason."""
    return await _decide(org_file, person, task, "refused", why)


async def _decide(org_file: Path, person: str | None, task: str, word: str, why: str) -> int:
    company = Company.open(org_file)
    async with company.connect_person(person) as (bus, me):
        one = await decide(bus, company, me, task, approved=word == "approved", why=why)
    click.echo(f"{word}: {one.side} of task {one.task_id} at {one.agent}, by {me}")
    return 0
