"""`clawbus approvals`, `approve`, `refuse`: what waits for a person, and the person's word."""

from __future__ import annotations

from pathlib import Path

import click

from clawbus.cli.options import as_option, beginning, json_option, org_option, run_async
from clawbus.cli.output import moment, print_json, put_line, put_text, short


@click.command()
@click.argument("task", metavar="[ID]", required=False, callback=beginning)
@as_option
@org_option
@json_option
@run_async
async def approvals_command(task: str | None, person: str | None, org_file: Path, as_json: bool) -> int:
    """List what waits for a person's decision, the oldest first; with ID, what waits about that task."""
    from clawbus.client.approvals import waiting
    from clawbus.client.company import Company

    company = Company.open(org_file)
    async with company.connect_person(person) as (bus, _):
        found = [question for question in await waiting(bus, company) if question.task_id.startswith(task or "")]
    if as_json:
        print_json([question.as_json() for question in found])
        return 0
    for question in found:
        what = "wants to start" if question.side == "dispatch" else "has a report"
        head = f"{short(question.task_id)}  {moment(question.at)}  {question.agent} {what}, for {question.requester}"
        put_line(f"{head}  {question.label}".rstrip())
        put_text(question.text, indent=4)  # whole: what is decided on must be seen
        if sum(other.task_id == question.task_id for other in found) > 1:
            put_line(f"    one of several questions about this task: --code {question.code}")
    put_line("Decide with `clawbus approve ID` or `clawbus refuse ID`." if found else "Nothing waits for a decision.")
    return 0
