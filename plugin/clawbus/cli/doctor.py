"""`clawbus doctor`: a line for each thing that must work, and the remedy beside a failure."""

from __future__ import annotations

import functools
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console

from clawbus.channels import ENDS, EVENTS, INBOX, TASKS
from clawbus.cli.options import json_option, org_option, run_async
from clawbus.cli.output import print_json, put_line
from clawbus.company import Company
from clawbus.doctor import examine, render
from clawbus.provision.forbidden import LABEL, allowed_of_them, tried_keys
from clawbus.stopping import standing


@click.command()
@org_option
@json_option
@run_async
async def doctor_command(org_file: Path, as_json: bool) -> int:
    """Look at Node, OpenClaw, nats-server, the bus, each gateway, its plugin and its node.

    Some calls that must be refused are tried, too; none of them could do harm.

    Without an org.toml only this machine is looked at. Exit code 1 if something failed.
    """
    company = Company.open(org_file) if org_file.exists() else None

    async def probe() -> str:
        assert company is not None  # noqa: S101 - called for a company only
        if company.here is not None:  # no person has a key here
            async with company.connect(f"gw-{company.here.gateways[0]}") as bus:
                return f"nats-server {bus.server_version} takes this machine's credentials"
        async with company.connect_person(None) as (bus, _):
            counts = []
            for stream in (TASKS, INBOX, EVENTS, ENDS):
                info = await bus.api(f"STREAM.INFO.{stream}")
                counts.append(f"{stream} {info['state']['messages']}")
            stopped = [str(one) for one in (await standing(bus, company)).standing()]
            return ", ".join([f"nats-server {bus.server_version}", *counts, *stopped])

    if company is None:
        checks = await examine(None, None)
    else:
        place = (company.url, company.gateways_here)
        forbidden = functools.partial(_try_forbidden, company)
        checks = await examine(company.org, company.home, company.token_file, probe, place, forbidden)
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        render(checks, Console())
        if company is None:
            put_line(f"There is no {org_file}: write one with `clawbus init duo`.")
    return 1 if any(check.ok is False for check in checks) else 0


async def _try_forbidden(company: Company) -> dict[str, list[str]]:
    """With one key of each kind that lies here; what the server did not refuse. Raises BusAway or Refused."""
    here = [gateway.id for gateway in company.gateways_here]
    keys = [key for key in tried_keys(company.org, here) if company.home.key(key).exists()]
    found = {}
    for key in keys:
        async with company.connect(key, LABEL) as bus:
            found[key] = await allowed_of_them(bus, company.org, key)
    return found
