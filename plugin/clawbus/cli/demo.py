"""`clawbus demo`: see it work, on real gateways, before anything is set up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clawbus.cli.output import print_json, put_line
from clawbus.cli.screen import Screen
from clawbus.errors import InvalidInput
from clawbus.settings import provider_keys

if TYPE_CHECKING:
    from clawbus.client.watch import WatchEvent
    from clawbus.demo.stage import Outcome, Wish

    Play = Callable[[Wish, Callable[[str], None], Callable[[WatchEvent], None]], Awaitable[Outcome]]

_SCRIPTED = "scripted"
_KILLS = ("worker", "node", "server")


@click.command()
@click.option("--app", type=click.Path(path_type=Path), help="The Node project to look at. [default: an example]")
@click.option("--company", "whole", is_flag=True, help="Three gateways and a whole workflow: a blocker, a review.")
@click.option("--kill", type=click.Choice(_KILLS), help="Kill this in the middle of the worker's turn.")
@click.option(
    "--model",
    default=_SCRIPTED,
    show_default=True,
    metavar="PROVIDER/MODEL",
    help="A real model instead of the scripted one; its key must be in the environment.",
)
@click.option("--nats-server", type=click.Path(path_type=Path), help="The nats-server program.")
@click.option("--json", "as_json", is_flag=True, help="Print tasks, states, times and the report as JSON.")
def demo_command(
    app: Path | None, whole: bool, kill: str | None, model: str, nats_server: Path | None, as_json: bool
) -> int:
    """Two real OpenClaw gateways, a real nats-server, one task: can this Node project go from Node 18 to 22?

    The CEO's model delegates to the CTO in the other gateway over JetStream; the CTO's model greps the project; the
    CEO is woken with the report. Nothing is left running, and nothing is written but the cache (OpenClaw itself,
    once) and a folder in the temporary directory.
    """
    from clawbus.demo import run, workflow
    from clawbus.demo.stage import app_folder

    if whole and kill:
        raise InvalidInput("--kill", kill, "stands beside --company", "Give one of the two.")
    screen = Screen(sys.stderr if as_json else sys.stdout)
    folder = app_folder(app)
    play = workflow.run if whole else run.run
    outcome = asyncio.run(_interruptible(_demo(folder, kill, model, nats_server, screen, play)))
    if outcome is None:
        return 130
    data = _data(outcome, folder, kill, model)
    outcome.timeline.write_text(json.dumps(data, indent=2, ensure_ascii=False, default=str), "utf-8")
    if as_json:
        print_json(data)
    else:
        screen.say("")
        screen.say(f"The CEO's recommendation (model: {_named(model)}):")
        screen.say(outcome.recommendation)
        screen.finish(outcome.report, str(outcome.timeline), _next(kill))
    return 0


async def _demo(
    app: Path, kill: str | None, model: str, nats_server: Path | None, screen: Screen, play: Play
) -> Outcome:
    from clawbus.demo.stage import Wish
    from clawbus.gateway.setup import installation as openclaw

    claw = await openclaw.find(install=True, say=screen.say)
    screen.say(f"OpenClaw {claw.version}; model: {_named(model)}")
    if model == _SCRIPTED and (keys := provider_keys()):
        screen.say(f"({', '.join(keys)} is set: --model PROVIDER/MODEL lets a real model answer)")
    return await play(Wish(app, claw, kill, model, nats_server), screen.say, screen.show)


async def _interruptible(work: Any) -> Outcome | None:
    """Ctrl-C and SIGTERM end the work, with all its processes; None then."""
    task = asyncio.ensure_future(work)
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        outcome: Outcome = await task
        return outcome
    put_line("stopped; everything that was started has ended", err=True)
    return None


def _named(model: str) -> str:

    return "scripted (no model is called)" if model == _SCRIPTED else model


def _data(outcome: Outcome, app: Path, kill: str | None, model: str) -> dict[str, Any]:
    return {"app": str(app), "model": model, "kill": kill, "seconds": round(outcome.took_s, 1), "tasks": outcome.tasks,
            "events": [asdict(event) for event in outcome.events], "report": outcome.report,
            "recommendation": outcome.recommendation, "timeline": str(outcome.timeline)}  # fmt: skip


def _next(kill: str | None) -> list[str]:
    program = Path(sys.argv[0])
    name = "clawbus" if shutil.which("clawbus") else os.path.relpath(program)
    again = name if name == "clawbus" else program.absolute()
    other = "server" if kill == "worker" else "worker"
    return [
        f"{name} demo --kill {other}",
        f"{name} demo --company  (three gateways: a question that climbs to a person, a review)",
        f"{name} demo --app DIR  (a Node project of yours)",
        f"mkdir acme && cd acme && {again} init duo",
    ]
