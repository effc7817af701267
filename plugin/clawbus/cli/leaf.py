"""`clawbus leaf`: a nats-server on this machine that its agents dial, and that alone dials the hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from clawbus.cli.options import org_option, run_async, until_stopped
from clawbus.cli.output import outlive_full_disk, put_line
from clawbus.errors import Missing, Refused
from clawbus.settings import HUB_VAR, variable

if TYPE_CHECKING:
    from clawbus.client.company import Company
    from clawbus.provision import joined_machine as here
    from clawbus.provision.leaf_config import Hub

_PORT = 4222


@click.command()
@click.option(
    "--hub", metavar="HOST[:PORT]", help=f"Where it dials. [default: {HUB_VAR}, what was said last, the invite's host]"
)
@click.option(
    "--port", type=click.IntRange(1024, 65535), help=f"Where it listens, on the loopback only. [default: {_PORT}]"
)
@click.option(
    "--nats-server", type=click.Path(path_type=Path), help="The nats-server program. [default: clawbus's own]"
)
@click.option("--off", is_flag=True, help="No leaf any more: this machine's nodes dial the hub themselves.")
@org_option
@run_async
async def leaf_command(hub: str | None, port: int | None, nats_server: Path | None, off: bool, org_file: Path) -> int:
    """Run this machine's leaf until stopped. From then on its nodes, programs and agents dial the loopback only.

    For a machine that has joined (`clawbus join CODE`). `clawbus up` there starts it by itself from the second time on.
    """
    from clawbus.client.company import Company
    from clawbus.ops.up.leaf_process import LeafProcess
    from clawbus.provision import joined_machine as here
    from clawbus.provision.leaf_config import look
    from clawbus.provision.ports import LOOPBACK, Port
    from clawbus.provision.server import find_server

    company = Company.open(org_file)
    known = company.here
    if known is None:
        remedy = "It is for machines that have come in with `clawbus join CODE`; here the server itself runs."
        raise Refused(f"this is the company's own machine: {company.org.company} needs no leaf on it", remedy)
    if off:
        here.write(company.home, known.model_copy(update={"leaf": None}))
        put_line(f"No leaf any more: what starts from now on dials {known.url}.")
        return 0
    listens = port or (known.leaf.port if known.leaf else _PORT)
    dialled = _hub(hub, known, company)
    program = find_server(nats_server)
    seen = await look(dialled, company.org.bus)
    _refuse_taken(listens)
    here.write(company.home, known.model_copy(update={"leaf": here.LeafLink(hub=str(dialled), port=listens)}))
    outlive_full_disk()
    put_line(f"nats://{LOOPBACK}:{listens} is where this machine's agents find {company.org.company}. Ctrl-C ends it.")
    if seen is Port.NOBODY:
        put_line(f"Nobody answers at {dialled} now; it is dialled again every 5 s.")
    await until_stopped(LeafProcess(company, dialled, listens, company.home.root / known.ca, program, put_line).run())
    return 0


def _hub(option: str | None, known: here.JoinedMachine, company: Company) -> Hub:
    """The hub to dial: of the option, else the variable, else the last call, else the invite. Raises InvalidInput."""
    from clawbus.provision.leaf_config import hub_of

    bus = company.org.bus
    for said, field in ((option, "--hub"), (variable(HUB_VAR), HUB_VAR), (known.leaf and known.leaf.hub, "leaf.hub")):
        if said:
            return hub_of(said, field, bus)
    return hub_of(known.host, "url", bus)


def _refuse_taken(port: int) -> None:
    from clawbus.provision.ports import LOOPBACK, holder_of, port_free

    if not port_free(LOOPBACK, port):
        by = holder_of(port)
        problem = f"--port = {port}: the port is in use{f' by {by}' if by else ''}"
        raise Missing(problem, "Is it a leaf already? Otherwise end that program, or say another with --port.")
