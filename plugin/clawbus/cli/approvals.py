"""`clawbus approvals`, `approve`, `refuse`: what waits for a person, and the person's word."""

from __future__ import annotations

from pathlib import Path

import click

from clawbus.cli.options import as_option, beginning, json_option, org_option, run_async, the_one
from clawbus.cli.output import print_json, put_line, put_text
from clawbus.client.approvals import decide, waiting
from clawbus.client.company import Company
from clawbus.errors import NotFound


@click.command()
@click.argument("task", metavar="[ID]", required=False, callback=beginning)
@as_option
@org_option
@json_option
@run_async
async def approvals_command(task: str | None, person: str | None, org_file: Path, as_json: bool) -> int:
    """List what waits for a person's decision, the oldest first; with ID, what waits about that task."""
    company = Company.open(org_file)
    async with company.connect_person(person) as (bus, _):
        found = [one for one in await waiting(bus, company) if one.task_id.startswith(task or "")]
    if as_json:
        print_json([one.as_json() for one in found])
        return 0
    for one in found:
        what = "wants to start" if one.side == "dispatch" else "has a report"
        put_line(f"{one.task_id}  {one.at:%m-%d %H:%M}  {one.agent} {what}, for {one.requester}  {one.label}".rstrip())
        put_text(one.text, indent=4)  # whole: what is decided on must be seen
        if sum(other.task_id == one.task_id for other in found) > 1:
            put_line(f"    one of several questions about this task: --code {one.code}")
    put_line("Decide with `clawbus approve ID` or `clawbus refuse ID`." if found else "Nothing waits for a decision.")
    return 0


_code = click.option("--code", metavar="CODE", help="Which question, where several about one task wait.")


@click.command()
@click.argument("task", metavar="ID", callback=beginning)
@_code
@as_option
@org_option
@run_async
async def approve_command(task: str, code: str | None, person: str | None, org_file: Path) -> int:
    """Let what waits go on: the task starts, or its report goes out."""
    return await _decide(org_file, person, task, code, None)


@click.command()
@click.argument("task", metavar="ID", callback=beginning)
@click.option("--why", default="", help="The requester hears it.")
@_code
@as_option
@org_option
@run_async
async def refuse_command(task: str, why: str, code: str | None, person: str | None, org_file: Path) -> int:
    """Stop what waits: the task ends as failed, with the reason."""
    return await _decide(org_file, person, task, code, why)


async def _decide(org_file: Path, person: str | None, task: str, code: str | None, why: str | None) -> int:
    """`why`: of a refusal; None approves."""
    company = Company.open(org_file)
    word = "approved" if why is None else "refused"
    async with company.connect_person(person) as (bus, me):
        if len(task) < 26:  # the length of an id, as in `client.look`
            nothing = NotFound(f"nothing that waits for a decision begins with {task}", "List it: clawbus approvals")
            task = the_one(task, (one.task_id for one in await waiting(bus, company)), nothing)
        one = await decide(bus, company, me, task, approved=why is None, why=why or "", code=code)
    put_line(f"{word}: {one.side} of task {one.task_id} at {one.agent}, by {me}")
    return 0
