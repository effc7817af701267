"""`clawbus tasks` and `clawbus task show|result|cancel`."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import click

from clawbus.asking import Person
from clawbus.bus import Ends
from clawbus.cli.ask import report
from clawbus.cli.options import as_option, json_option, org_option, print_json, run_async
from clawbus.company import Company
from clawbus.errors import Away, InvalidInput, NotFound
from clawbus.seeing import who_is_online
from clawbus.show import inert
from clawbus.tasks import History, TaskView

_OPEN = ("queued", "delivered", "running", "interrupted")


@click.command()
@click.option("--open", "only_open", is_flag=True, help="Only tasks that have not ended.")
@click.option("--limit", type=click.IntRange(1), default=30, show_default=True, help="The newest so many.")
@as_option
@org_option
@json_option
@run_async
async def tasks_command(only_open: bool, limit: int, person: str | None, org_file: Path, as_json: bool) -> int:
    """List the company's tasks, the newest last: state, who gave it to whom, and why one waits."""
    company = Company.open(org_file)
    async with company.connect_person(person) as (bus, _):
        views = await company.history(bus).tasks()
        views = [view for view in views if view.state in _OPEN or not only_open][-limit:]
        waits = any(view.state in _OPEN for view in views)
        roster = await who_is_online(bus, company) if waits else None
    away = {agent.id for agent in company.org.agents if roster is not None and not roster.online(agent.id)}
    if as_json:
        print_json([view.as_json() | {"worker_online": view.worker not in away} for view in views])
    elif not views:
        click.echo("No tasks yet. Give one: clawbus ask AGENT TEXT")
    for view in [] if as_json else views:
        click.echo(_line(view, view.worker in away))
    return 0


def _line(view: TaskView, worker_away: bool) -> str:
    note = ""
    if view.state in _OPEN and worker_away:
        note = f"  (waits: the gateway of {view.worker} is away)"
    elif view.delivery == "waiting":
        note = f"  (its result waits for {view.requester})"
    elif view.progress and view.state == "running":
        note = f"  ({view.progress})"
    born = min(view.times.values(), default=datetime.now(UTC))
    label = f"  {view.label}" if view.label else ""
    again = f" (attempt {view.attempts})" if view.attempts > 1 else ""
    return inert(
        f"{view.task_id}  {view.state + again:<11} {view.requester} -> {view.worker}  {_age(born)}{label}{note}"
    )


def _age(born: datetime) -> str:
    seconds = max(0, int((datetime.now(UTC) - born).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def _id(_context: click.Context, _option: click.Parameter, text: str) -> str:
    """An id, or the beginning of one. Raises InvalidInput."""
    if not re.fullmatch("[a-z2-7]{4,26}", text):
        problem, remedy = "not a task id", "Take one from `clawbus tasks`; its first four letters will do."
        raise InvalidInput("ID", text, problem, remedy)
    return text


@click.group()
def task_command() -> None:
    """Look at one task, read its result, or cancel it. ID may be shortened to its first letters."""


@task_command.command()
@click.argument("task_id", metavar="ID", callback=_id)
@as_option
@org_option
@json_option
@run_async
async def show(task_id: str, person: str | None, org_file: Path, as_json: bool) -> int:
    """Show a task's state and when each thing happened."""
    company = Company.open(org_file)
    async with company.connect_person(person) as (bus, _):
        view = await _find(company.history(bus), task_id)
    if as_json:
        print_json(view.as_json())
        return 0
    rows = [
        ("task", view.task_id),
        ("label", view.label),
        ("from", view.requester),
        ("to", view.worker),
        ("priority", view.priority),
        ("state", view.state),
        ("delivery", view.delivery),
        ("attempts", str(view.attempts)),
        ("ended by", view.ended_by),
    ]
    rows += [
        (kind, at.astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3])
        for kind, at in sorted(view.times.items(), key=lambda item: item[1])
    ]
    for name, value in rows:
        if value:
            click.echo(inert(f"{name:>11}  {value}"))
    return 0


@task_command.command()
@click.argument("task_id", metavar="ID", callback=_id)
@as_option
@org_option
@json_option
@run_async
async def result(task_id: str, person: str | None, org_file: Path, as_json: bool) -> int:
    """Print a task's result. Exit code 0 for done, 1 for another end, 5 while it has none."""
    company = Company.open(org_file)
    async with company.connect_person(person) as (bus, me):
        view = await _find(company.history(bus), task_id)
        end = await Ends(bus, company.subjects, company.may_end).read(view.task_id, view.requester, view.worker)
        if end is not None and view.requester == me:
            await Person(company, bus, me).took(view.task_id)
    if end is None:
        raise Away(f"task {view.task_id} has not ended: it is {view.state}", "Look again later: clawbus tasks")
    return report(view.task_id, end, as_json)


@task_command.command()
@click.argument("task_id", metavar="ID", callback=_id)
@as_option
@org_option
@json_option
@run_async
async def cancel(task_id: str, person: str | None, org_file: Path, as_json: bool) -> int:
    """Cancel a task: a waiting one never runs, a running turn is stopped, a finished one stays as it is."""
    company = Company.open(org_file)
    async with company.connect_person(person) as (bus, me):
        view = await _find(company.history(bus), task_id)
        won, end = await Person(company, bus, me).cancel(view)
    if as_json:
        print_json({"task_id": view.task_id, "cancelled": won, "state": end.status, "ended_by": end.by})
    elif won:
        click.echo(f"cancelled {view.task_id}")
    else:
        click.echo(f"not cancelled: {view.task_id} had ended before, as {end.status} (written by {end.by})")
    return 0 if won else 1


async def _find(history: History, text: str) -> TaskView:
    """A task by its id or the beginning of it. Raises NotFound, or InvalidInput if several begin so."""
    if len(text) == 26:
        return await history.task(text)
    fitting = [view for view in await history.tasks() if view.task_id.startswith(text)]
    if len(fitting) > 1:
        raise InvalidInput("ID", text, f"{len(fitting)} tasks begin so", "Write more of it.")
    if not fitting:
        raise NotFound(f"no task begins with {text}", "List them with `clawbus tasks`.")
    return fitting[0]
