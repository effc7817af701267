"""`clawbus pause`: one agent begins nothing more."""

from __future__ import annotations

from pathlib import Path

import click

from clawbus.cli.options import as_option, json_option, org_option, run_async
from clawbus.cli.stop import give, target_of, why_option


@click.command()
@click.argument("agent")
@why_option
@as_option
@org_option
@json_option
@run_async
async def pause_command(agent: str, why: str, person: str | None, org_file: Path, as_json: bool) -> int:
    """Have AGENT begin nothing more; the turn that runs goes on to its end."""
    return await give(org_file, person, target_of(agent, False), "paused", why, as_json)
