"""`clawbus tasks`: all tasks of the company, and why one waits."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clawbus.cli.options import PATIENCE_S, as_option, json_option, org_option, run_async
from clawbus.cli.output import lasting, print_json, put_line, short

if TYPE_CHECKING:
    from clawbus.client.company import Company
    from clawbus.tasks import TaskView

_OPEN = ("queued", "waiting_approval", "delivered", "running", "interrupted")
_DOING = ("running", "waiting_approval")


@click.command()
@click.option("--open", "only_open", is_flag=True, help="Only tasks that have not ended.")
@click.option("--limit", type=click.IntRange(1), default=30, show_default=True, help="The newest so many.")
@as_option
@org_option
@json_option
@run_async
async def tasks_command(only_open: bool, limit: int, person: str | None, org_file: Path, as_json: bool) -> int:
    """List the company's tasks, the newest last: state, who gave it to whom, and why one waits."""
    from clawbus.client.client import connect
    from clawbus.client.company import Company

    async with connect(org_file, person, PATIENCE_S) as client:
        views = [view for view in await client.tasks() if view.state in _OPEN or not only_open][-limit:]
        away = await client.offline() if any(view.state in _OPEN for view in views) else frozenset()
    if as_json:
        print_json([view.as_json() | {"worker_online": view.worker not in away} for view in views])
    elif not views:
        put_line("No task is open." if only_open else "No tasks yet. Give one: clawbus ask AGENT TEXT")
    for view in [] if as_json else views:
        put_line(_line(view, view.worker in away))
    if away or any(view.state in _OPEN for view in views):
        await _say_if_stopped(Company.open(org_file), person)
    return 0


async def _say_if_stopped(company: Company, person: str | None) -> None:
    from clawbus.client.halt import standing

    async with company.connect_person(person) as (bus, _):
        for order in (await standing(bus, company)).standing():
            put_line(f"clawbus: {order}", err=True)


def _line(view: TaskView, worker_away: bool) -> str:
    note = ""
    if view.state in _OPEN and worker_away:
        note = f"  (waits: the gateway of {view.worker} is away)"
    elif view.delivery == "waiting":
        note = f"  (its result waits for {view.requester})"
    elif view.progress and view.state in _DOING:
        note = f"  ({view.progress})"
    now = datetime.now(UTC)
    age_s = (now - min(view.times.values(), default=now)).total_seconds()
    label = f"  {view.label}" if view.label else ""
    again = f" (attempt {view.attempts})" if view.attempts > 1 else ""
    head = f"{short(view.task_id)}  {view.state + again:<11}  {view.requester} -> {view.worker}"
    return f"{head}  {lasting(age_s)} ago{label}{note}"
