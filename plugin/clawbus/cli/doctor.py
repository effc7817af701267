"""`clawbus doctor`: a line for each thing that must work, and the remedy beside a failure."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console

from clawbus.channels import ENDS, EVENTS, INBOX, TASKS
from clawbus.cli.options import json_option, org_option, print_json, run_async
from clawbus.company import Company
from clawbus.doctor import examine, render


@click.command()
@org_option
@json_option
@run_async
async def doctor_command(org_file: Path, as_json: bool) -> int:
    """Look at Node, OpenClaw, nats-server, the bus, each gateway, its plugin and its node.

    Without an org.toml only this machine is looked at. Exit code 1 if something failed.
    """
    company = Company.open(org_file) if org_file.exists() else None

    async def probe() -> str:
        assert company is not None  # noqa: S101 - called for a company only
        async with company.connect_person(None) as (bus, _):
            counts = []
            for stream in (TASKS, INBOX, EVENTS, ENDS):
                info = await bus.api(f"STREAM.INFO.{stream}")
                counts.append(f"{stream} {info['state']['messages']}")
            return f"nats-server {bus.server_version}, {', '.join(counts)}"

    if company is None:
        checks = await examine(None, None)
    else:
        checks = await examine(company.org, company.home, company.token_file, probe)
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        render(checks, Console())
        if company is None:
            click.echo(f"There is no {org_file}: write one with `clawbus init duo`.")
    return 1 if any(check.ok is False for check in checks) else 0
