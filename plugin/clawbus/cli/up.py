"""`clawbus up`: the whole company on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from pathlib import Path

import click

from clawbus.cli.options import org_option, run_async
from clawbus.company import Company
from clawbus.errors import BusAway
from clawbus.flow import watching
from clawbus.gateway import openclaw, own
from clawbus.provision.ports import port_free
from clawbus.running import Plan, running
from clawbus.screen import Screen

_QUIET = {"started", "restarted", "ready", "stopped"}


@click.command()
@org_option
@click.option(
    "--nats-server",
    type=click.Path(path_type=Path),
    help="The nats-server program. [default: the one installed with clawbus]",
)
@click.option("--force-souls", is_flag=True, help="Replace SOUL.md and AGENTS.md that differ from what org.toml says.")
@run_async
async def up_command(org_file: Path, nats_server: Path | None, force_souls: bool) -> int:
    """Start the company: nats-server, its own OpenClaw gateways, a node for each gateway. Ctrl-C ends all of it.

    What dies is restarted. What happens to tasks is shown as it happens.
    """
    company = Company.open(org_file)
    needs_claw = any(gateway.own for gateway in company.org.gateways)
    claw = await openclaw.find(install=True, say=click.echo) if needs_claw else None
    plan = Plan(company, claw, nats_server, _model_port(company), force_souls)
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    work = asyncio.create_task(_run(plan))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not work.done():
        click.echo("stopping (a second Ctrl-C kills)")
        for signum in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signum, work.cancel)
        work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work
    click.echo("everything has ended; tasks that were running go on at the next `clawbus up`")
    return 0


async def _run(plan: Plan) -> None:
    org = plan.company.org

    dead: set[str] = set()

    def on_event(name: str, what: str, detail: str) -> None:
        if what == "died":
            dead.add(name)
        elif what == "ready" and name in dead:
            dead.discard(name)
            what = "back, ready"
        elif what in _QUIET:
            return
        elif what == "killed":
            what = "did not drain in time, ended"
        click.echo(f"{name} {what} {detail}".rstrip())

    async with running(plan, click.echo, on_event):
        models = sorted({org.model_of(agent) for agent in org.agents})
        click.echo(f"{org.company} is up on {org.url}: {', '.join(agent.id for agent in org.agents)}")
        click.echo(
            f"Model: {', '.join(models)}" + (" (the demo's own: no model is called)" if own.SCRIPTED in models else "")
        )
        click.echo(f"Logs: {plan.company.home.root / 'logs'}. Ctrl-C ends all.")
        await _show(plan.company)


async def _show(company: Company) -> None:
    """What happens to tasks, until cancelled."""
    screen = Screen(sys.stdout)
    while True:
        with contextlib.suppress(BusAway):
            async with company.connect_person(None) as (bus, _), watching(bus, company.subjects) as heard:
                while True:
                    screen.show(await heard.get())
        await asyncio.sleep(0.5)


def _model_port(company: Company) -> int | None:
    """A port for the scripted model if an agent wants it: the same at each start, so that settings stay as they are."""
    org = company.org
    ours = {gateway.id for gateway in org.gateways if gateway.own}
    if not any(agent.gateway in ours and org.model_of(agent) == own.SCRIPTED for agent in org.agents):
        return None
    remembered = company.home.dir("run") / "model.port"
    with contextlib.suppress(OSError, ValueError):
        port = int(remembered.read_text())
        if port_free("127.0.0.1", port):
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    remembered.write_text(str(port))
    return port
