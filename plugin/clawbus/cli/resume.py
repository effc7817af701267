"""`clawbus resume`: one agent, or all, go on."""

from __future__ import annotations

from pathlib import Path

import click

from clawbus.cli.options import as_option, json_option, org_option, run_async
from clawbus.cli.stop import give, target_of, why_option


@click.command()
@click.argument("agent", required=False)
@click.option("--all", "everyone", is_flag=True, help="The whole company; agents that are paused stay so.")
@why_option
@as_option
@org_option
@json_option
@run_async
async def resume_command(
    agent: str | None, everyone: bool, why: str, person: str | None, org_file: Path, as_json: bool
) -> int:
    """Have AGENT, or with --all the company, go on: what waits begins."""
    return await give(org_file, person, target_of(agent, everyone), "running", why, as_json)
