"""`clawbus up`: the whole company on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import click

from clawbus.cli.check import FREE
from clawbus.cli.options import org_option, run_async
from clawbus.cli.output import outlive_full_disk, put_text
from clawbus.cli.screen import Screen
from clawbus.client.company import Company
from clawbus.client.halt import telling
from clawbus.client.watch import watching
from clawbus.errors import BusAway
from clawbus.gateway.setup import installation as openclaw
from clawbus.gateway.setup import managed_gateway as own
from clawbus.ops.enrol.org_sync import caught_up, follow
from clawbus.ops.supervisor import Supervisor
from clawbus.ops.supervisor.pid_files import take_lock
from clawbus.ops.up import ServicePlan, answer_questions, ask_up, model_port, reconcile, running, survive_questions

_DRAIN_S = 20.0
"""The time in which a gateway that is restarted because its turns fail may let other turns end."""
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
    survive_questions()
    outlive_full_disk()
    plan = await _plan(await _up_to_date(org_file), nats_server, force_souls)
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    work = asyncio.create_task(_run(plan))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not work.done():
        put_text("stopping (a second Ctrl-C kills)")
        for signum in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signum, work.cancel)
        work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work
    put_text("everything has ended; tasks that were running go on at the next `clawbus up`")
    return 0


async def _up_to_date(org_file: Path) -> Company:
    """The company as its own machine has it. Raises Refused if another `up` runs here.

    That one would never hear of a change that is taken over beside it: it asks for what differs from the file.
    """
    company = Company.open(org_file)
    if company.here is None:
        return company
    with take_lock(company.home.dir("run")):
        return await caught_up(company)


async def _plan(company: Company, nats_server: Path | None, force_souls: bool, running: bool = False) -> ServicePlan:
    needs_claw = any(gateway.is_ours for gateway in company.gateways_here)
    claw = await openclaw.find(install=True, say=put_text) if needs_claw else None
    return ServicePlan(company, claw, nats_server, model_port(company, running), force_souls)


async def _run(plan: ServicePlan) -> None:
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
        put_text(f"{name} {what} {detail}".rstrip())

    async with running(plan, put_text, on_event) as supervisor:
        here = {gateway.id for gateway in plan.company.gateways_here}
        agents = [agent for agent in org.agents if agent.gateway in here]
        claws = {gateway.id for gateway in plan.company.gateways_here if not gateway.is_program}
        models = sorted({org.model_of(agent) for agent in agents if agent.gateway in claws})
        put_text(f"{org.company} is up on {plan.company.url}: {', '.join(agent.id for agent in agents)}")
        if models:
            put_text(f"Model: {', '.join(model + FREE * (model == own.SCRIPTED) for model in models)}")
        put_text(f"Logs: {plan.company.home.root / 'logs'}. Ctrl-C ends all; `clawbus apply` takes changes in.")
        fresh: asyncio.Queue[Company] = asyncio.Queue()
        following = asyncio.create_task(_follow(supervisor, plan, fresh.put_nowait))
        try:
            await _show_on(plan.company, fresh)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def _follow(supervisor: Supervisor, plan: ServicePlan, took: Callable[[Company], None]) -> None:
    """Until cancelled: take org.toml in when `clawbus apply` asks for it, and restart a gateway when its node does.

    `took` hears of each company that was taken in.
    """
    now = plan

    async def do(force_souls: bool, say: Callable[[str], None]) -> None:
        nonlocal now

        def both(line: str) -> None:
            put_text(line)
            say(line)

        company = Company.open(plan.company.org_file)
        model_runs = now.model_port is not None
        changed = await _plan(company, plan.nats_server, force_souls, model_runs)
        await reconcile(supervisor, now, changed, both)
        now = changed
        took(company)

    async def restart(service: str) -> None:
        put_text(f"{service} is restarted: its turns fail before a model is asked")
        await supervisor.restart(service, _DRAIN_S)

    await answer_questions(plan.company.home, do, restart)


async def _show_on(company: Company, fresh: asyncio.Queue[Company]) -> None:
    """Show what happens, until cancelled, as the first person of `fresh` when that is another one."""
    while True:
        showing = asyncio.create_task(_show(company))
        try:
            while (another := await _next_of(fresh, showing)).org.humans[0].id == company.org.humans[0].id:
                pass
        finally:
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)
        company = another


async def _next_of(fresh: asyncio.Queue[Company], showing: asyncio.Task[None]) -> Company:
    """The next company that was taken in. Raises what ends `showing` before."""
    changed = asyncio.create_task(fresh.get())
    try:
        await asyncio.wait({changed, showing}, return_when=asyncio.FIRST_COMPLETED)
        if not changed.done():
            showing.result()
        return await changed
    finally:
        changed.cancel()


async def _show(company: Company) -> None:
    """Show what happens to tasks, until cancelled; only wait on a machine that has joined: no person has a key."""
    if company.here is not None:
        await follow(company, functools.partial(ask_up, company.home, False))
    screen = Screen(sys.stdout)
    while True:
        with contextlib.suppress(BusAway):
            async with (
                company.connect_person(None) as (bus, _),
                telling(bus, company, screen.say),
                watching(bus, company.subjects) as heard,
            ):
                while True:
                    screen.show(await heard.get())
        await asyncio.sleep(0.5)
