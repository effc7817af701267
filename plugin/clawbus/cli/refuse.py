"""`clawbus refuse`: what waits for a person is stopped."""

from __future__ import annotations

from pathlib import Path

import click

from clawbus.cli.approve import code_option, decide_on
from clawbus.cli.options import as_option, beginning, org_option, run_async


@click.command()
@click.argument("task", metavar="ID", callback=beginning)
@click.option("--why", default="", help="The requester hears it.")
@code_option
@as_option
@org_option
@run_async
async def refuse_command(task: str, why: str, code: str | None, person: str | None, org_file: Path) -> int:
    """Stop what waits: the task ends as failed, with the reason."""
    return await decide_on(org_file, person, task, code, why)
