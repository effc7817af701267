"""`clawbus task show|result|files|steer|cancel`: one task."""

from __future__ import annotations

from pathlib import Path

import click

from clawbus.cli.ask import report
from clawbus.cli.options import PATIENCE_S, Group, as_option, beginning, json_option, org_option, run_async
from clawbus.cli.output import moment, print_json, put_line, short
from clawbus.errors import Away

_DOING = ("running", "waiting_approval")


@click.group(cls=Group)
def task_command() -> None:
    """Look at one task, read its result, steer it, or cancel it."""


@task_command.command()
@click.argument("task_id", metavar="ID", callback=beginning)
@as_option
@org_option
@json_option
@run_async
async def show(task_id: str, person: str | None, org_file: Path, as_json: bool) -> int:
    """Show a task's state, and when each thing happened first."""
    from clawbus.cli.screen import word_of
    from clawbus.client.client import connect

    async with connect(org_file, person, PATIENCE_S) as client:
        view = await client.look(task_id)
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
        ("doing", view.progress if view.state in _DOING else ""),
        ("reported", view.reported),
        ("steered", view.steered),
        ("ended by", view.ended_by),
        ("files", ", ".join(view.files)),
    ]
    rows += [
        (word_of(kind), moment(at, exact=True)) for kind, at in sorted(view.times.items(), key=lambda item: item[1])
    ]
    for name, value in rows:
        if value:
            put_line(f"{name:>16}  {value}")
    return 0


@task_command.command()
@click.argument("task_id", metavar="ID", callback=beginning)
@as_option
@org_option
@json_option
@run_async
async def result(task_id: str, person: str | None, org_file: Path, as_json: bool) -> int:
    """Print a task's result. Exit code 0 for done, 1 for another end, 5 while it has none."""
    from clawbus.client.client import connect

    async with connect(org_file, person, PATIENCE_S) as client:
        view = await client.look(task_id)
        ended = await client.result(view.task_id)
    if ended is None:
        raise Away(f"task {short(view.task_id)} has not ended: it is {view.state}", "Look again later: clawbus tasks")
    return report(ended, as_json)


@task_command.command()
@click.argument("task_id", metavar="ID", callback=beginning)
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@as_option
@org_option
@json_option
@run_async
async def files(task_id: str, folder: Path, person: str | None, org_file: Path, as_json: bool) -> int:
    """Copy the files of a task's result into DIR/bus/ID. Each is checked by its hash. Exit code 1 if one is missing."""
    from clawbus.client.client import connect

    async with connect(org_file, person, PATIENCE_S) as client:
        placed = await client.files(task_id, folder)
    if as_json:
        print_json([{"name": file.artifact.name, "copy": str(file.path or ""), "note": file.note} for file in placed])
    elif not placed:
        put_line("No files have come with it.")
    for file in [] if as_json else placed:
        put_line(str(file.path or f"{file.artifact.name}: {file.artifact.uri or ''} {file.note}"))
    return 1 if any(file.path is None and file.artifact.uri is None for file in placed) else 0


@task_command.command()
@click.argument("task_id", metavar="ID", callback=beginning)
@as_option
@org_option
@json_option
@run_async
async def cancel(task_id: str, person: str | None, org_file: Path, as_json: bool) -> int:
    """Cancel a task: a waiting one never runs, a running turn is stopped, a finished one stays as it is."""
    from clawbus.client.client import connect

    async with connect(org_file, person, PATIENCE_S) as client:
        view = await client.look(task_id)
        won, end = await client.cancel(view.task_id)
    if as_json:
        print_json({"task_id": view.task_id, "cancelled": won, "state": end.status, "ended_by": end.by})
    elif won:
        put_line(f"cancelled {short(view.task_id)}")
    else:
        put_line(f"not cancelled: {short(view.task_id)} had ended before, as {end.status} (written by {end.by})")
    return 0 if won else 1


@task_command.command()
@click.argument("task_id", metavar="ID", callback=beginning)
@click.argument("text")
@as_option
@org_option
@json_option
@run_async
async def steer(task_id: str, text: str, person: str | None, org_file: Path, as_json: bool) -> int:
    """Say TEXT to a task: a running turn hears it before its next step, a waiting one when it starts."""
    from clawbus.client.client import connect

    async with connect(org_file, person, PATIENCE_S) as client:
        view = await client.look(task_id)
        why_not = await client.steer(view.task_id, text)
    if as_json:
        print_json({"task_id": view.task_id, "sent": why_not is None, "state": view.state, "why_not": why_not})
    elif why_not is not None:
        put_line(f"not steered: {short(view.task_id)}: {why_not}")
    else:
        put_line(f"sent to {view.worker}. Whether it was heard: clawbus task show {short(view.task_id)}")
    return 0 if why_not is None else 1
