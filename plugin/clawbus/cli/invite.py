"""`clawbus invite`: one line that lets another machine in, once, within ten minutes."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clawbus.cli.options import json_option, org_option, run_async
from clawbus.cli.output import moment, print_json, put_line, put_text
from clawbus.errors import Away, ClawbusError, InvalidInput, Refused

if TYPE_CHECKING:
    from clawbus.client.company import Company
    from clawbus.ops.enrol.invite_code import Code

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
    from clawbus.client.company import Company
    from clawbus.ops.enrol.invite_code import Code
    from clawbus.ops.enrol.invites import Invites
    from clawbus.provision.ca import pin_of
    from clawbus.provision.tls import ca_file

    company = Company.open(org_file)
    gateways = _gateways(company, agents)
    dialled = _dialled(company, host)
    if not ca_file(company.home).exists():
        raise _nobody(company)
    invites, port = Invites(company.home), company.org.bus.enrol_port
    secret, expires = invites.open(gateways)
    code = Code(
        url=f"{dialled}:{port}",
        pin=pin_of(ca_file(company.home).read_text()),
        secret=secret,
        expires=int(expires),
        gateways=tuple(gateways),
        company=company.org.company,
    )
    if not await _listens(code.model_copy(update={"url": f"{company.org.bus.local_host}:{port}"})):
        invites.close(secret)
        raise _nobody(company)
    if as_json:
        print_json({"code": code.line(), "expires": code.expires, "gateways": gateways})
    else:
        until = moment(datetime.fromtimestamp(code.expires, UTC))
        put_text(f"Good once, until {until}. On the other machine, in an empty folder: clawbus join CODE", err=True)
        put_line(code.line())
    return 0


def _gateways(company: Company, agents: tuple[str, ...]) -> list[str]:
    """The gateways of these agents. Raises Refused if one is on this machine, InvalidInput if one lacks agents."""
    company.refuse_elsewhere("invites are made")
    org, named = company.org, {*agents}
    found = sorted({org.agent(agent, "AGENT").gateway for agent in agents})
    for gateway in (org.gateway(name) for name in found):
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


async def _listens(code: Code) -> bool:
    """True if the registrar listens and shows the authority of the code, within 5 s."""
    from clawbus.ops.enrol.join_client import authority_of

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LISTENS_S):
            while True:
                with contextlib.suppress(ClawbusError):
                    await authority_of(code)
                    return True
                await asyncio.sleep(0.05)
    return False


def _nobody(company: Company) -> Away:
    from clawbus.provision.ports import holder_of

    bus = company.org.bus
    where = f"{bus.local_host}:{bus.enrol_port}"
    if by := holder_of(bus.enrol_port):
        problem = f"nobody listens for the other machine on {where}: the port is in use by {by}"
        return Away(problem, "End that program, or set `join_port` under [bus] to a port that is free.")
    remedy = "`clawbus up` does, once started with what org.toml says now; .clawbus/logs/registrar.log has more."
    return Away(f"nobody listens for the other machine on {where}", remedy)
