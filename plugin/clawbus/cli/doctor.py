"""`clawbus doctor`: a line for each thing that must work, and the remedy beside a failure."""

from __future__ import annotations

import functools
from dataclasses import asdict
from pathlib import Path

import click

from clawbus.cli.options import json_option, org_option, run_async
from clawbus.cli.output import print_json, put_line


@click.command()
@org_option
@json_option
@run_async
async def doctor_command(org_file: Path, as_json: bool) -> int:
    """Look at Node, OpenClaw, nats-server, the bus, the steward, each gateway, its plugin and its node.

    Some calls that must be refused are tried, too; none of them could do harm.

    Without an org.toml only this machine is looked at. Exit code 1 if something failed.
    """
    from rich.console import Console

    from clawbus.client.company import Company
    from clawbus.ops import company_checks
    from clawbus.ops.doctor import examine, render

    company = Company.open(org_file) if org_file.exists() else None
    if company is None:
        checks = await examine(None, None)
    else:
        connection = functools.partial(company_checks.connection, company)
        place = (company.url, company.gateways_here)
        forbidden = functools.partial(company_checks.try_forbidden, company)
        more = functools.partial(company_checks.of_the_company, company)
        unwell = functools.partial(company_checks.unwell, company)
        checks = await examine(
            company.org, company.home, company.token_file, connection, place, forbidden, more, unwell
        )
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        render(checks, Console())
        if company is None:
            put_line(f"There is no {org_file}: write one with `clawbus init duo`.")
    return 1 if any(check.ok is False for check in checks) else 0
