"""`clawbus approve`: what waits for a person goes on."""

from __future__ import annotations

from pathlib import Path

import click

from clawbus.cli.options import ID_CHARS, as_option, beginning, org_option, run_async, the_one
from clawbus.cli.output import put_line, short
from clawbus.errors import NotFound

code_option = click.option("--code", metavar="CODE", help="Which question, where several about one task wait.")


@click.command()
@click.argument("task", metavar="ID", callback=beginning)
@code_option
@as_option
@org_option
@run_async
async def approve_command(task: str, code: str | None, person: str | None, org_file: Path) -> int:
    """Let what waits go on: the task starts, or its report goes out."""
    return await decide_on(org_file, person, task, code, None)


async def decide_on(org_file: Path, person: str | None, task: str, code: str | None, why: str | None) -> int:
    """`why`: of a refusal; None approves."""
    from clawbus.client.approvals import decide, waiting
    from clawbus.client.company import Company

    company = Company.open(org_file)
    word = "approved" if why is None else "refused"
    async with company.connect_person(person) as (bus, me):
        if len(task) < ID_CHARS:
            nothing = NotFound(f"nothing that waits for a decision begins with {task}", "List it: clawbus approvals")
            task = the_one(task, (question.task_id for question in await waiting(bus, company)), nothing)
        asked = await decide(bus, company, me, task, approved=why is None, why=why or "", code=code)
    put_line(f"{word}: {asked.side} of task {short(asked.task_id)} at {asked.agent}, by {me}")
    return 0
