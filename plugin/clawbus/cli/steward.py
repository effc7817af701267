"""`clawbus steward`: the process that does the company's duties; `clawbus up` starts one, and any number may run."""

from __future__ import annotations

from pathlib import Path

import click

from clawbus.cli.options import org_option, run_async, until_stopped


@click.command()
@org_option
@run_async
async def steward_command(org_file: Path) -> int:
    """Do the company's duties (deadlines, escalation, dead letters, lag, recurring work …), until stopped."""
    from clawbus.client.company import Company
    from clawbus.org import STEWARD
    from clawbus.steward.steward import Steward

    company = Company.open(org_file)

    async def serve() -> None:
        async with company.connect(STEWARD, wait_s=None) as bus:
            await Steward(company.org, bus, org_file.parent).run()

    await until_stopped(serve())
    return 0
