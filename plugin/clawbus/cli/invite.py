"""`clawbus invite`: one line that lets another machine in, once, within ten minutes."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import click

from clawbus.cli.options import json_option, org_option, run_async
from clawbus.cli.output import print_json, put_line, put_text
from clawbus.company import Company
from clawbus.enrol.code import Code
from clawbus.enrol.invites import Invites
from clawbus.errors import Away, InvalidInput, Refused
from clawbus.provision.ca import pin_of
from clawbus.provision.tls import ca_file

_LISTENS_S = 5.0


@click.command()
@click.argument("agents", nargs=-1, required=True, metavar="AGENT…")
@click.option(
    "--host", metavar="NAME", help="By which of bus.hosts the other machine reaches this one. [default: the first]"
)
@org_option
@json_option
@run_async
async def invite_command(agents: tuple[str, ...], host: str | None, org_file: Path, as_json: bool) -> int:
    """Print one line with which another machine becomes the home of these agents: `clawbus join CODE` there.

    All agents of their gateways have to be named; org.toml says `elsewhere = true` of each gateway. The line is good
    once, for ten minutes. A gateway that was let in before is let in anew, and the machine that had it is shut out.
    """
    company = Company.open(org_file)
    gateways = _gateways(company, agents)
    dialled = _dialled(company, host)
    invites = Invites(company.home)
    secret, expires = invites.open(gateways)
    bus = company.org.bus
    if not await _listens(bus.local_host, bus.enrol_port):
        invites.close(secret)
        raise Away(
            f"nobody listens for the other machine on {bus.local_host}:{bus.enrol_port}",
            "`clawbus up` does, once started with what org.toml says now; .clawbus/logs/registrar.log has more.",
        )
    code = Code(
        url=f"{dialled}:{bus.enrol_port}",
        pin=pin_of(ca_file(company.home).read_text()),
        secret=secret,
        expires=int(expires),
        gateways=tuple(gateways),
        company=company.org.company,
    )
    if as_json:
        print_json({"code": code.line(), "expires": code.expires, "gateways": gateways})
    else:
        put_text(
            f"Good once, until {code.until}. On the other machine, in an empty folder: clawbus join CODE", err=True
        )
        put_line(code.line())
    return 0


def _gateways(company: Company, agents: tuple[str, ...]) -> list[str]:
    """The gateways of these agents, all of whose agents they are, and which are elsewhere."""
    company.refuse_elsewhere("invites are made")
    org, named = company.org, {*agents}
    found = sorted({org.agent(agent, "AGENT").gateway for agent in agents})
    for gateway in (org.gateway(one) for one in found):
        if not gateway.elsewhere:
            raise Refused(
                f"gateway {gateway.id} is on this machine, by {company.org_file}",
                f'Add the line `elsewhere = true` to its entry (`id = "{gateway.id}"`), then `clawbus apply`.',
            )
        missing = [agent.id for agent in org.agents_of(gateway.id) if agent.id not in named]
        if missing:
            problem = f"gateway {gateway.id} moves as a whole, and has also {', '.join(missing)}"
            raise InvalidInput("AGENT", " ".join(agents), problem, "Name them, too.")
    return found


def _dialled(company: Company, host: str | None) -> str:
    known = company.org.bus.dialled
    if host is not None and host not in known:
        raise InvalidInput("--host", host, "is not among bus.hosts", f"There are: {', '.join(known)}.")
    return host or known[0]


async def _listens(host: str, port: int) -> bool:
    """Whether the registrar has seen the invite, and listens."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LISTENS_S):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection(host, port)
                    writer.close()
                    return True
                await asyncio.sleep(0.05)
    return False
