"""`clawbus registrar`: the process that hands out credentials, which `clawbus up` starts where others reach the bus."""

from __future__ import annotations

from pathlib import Path

import click

from clawbus.cli.options import org_option, run_async, until_stopped


@click.command()
@org_option
@run_async
async def registrar_command(org_file: Path) -> int:
    """Renew credentials, and let invited machines in, until stopped."""
    from clawbus.client.company import Company
    from clawbus.ops.enrol.registrar_process import Registrar

    company = Company.open(org_file)
    company.refuse_elsewhere("the registrar runs")
    await until_stopped(Registrar(company).run())
    return 0
