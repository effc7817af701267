"""`clawbus ask`: a person gives an agent a task, without a model in the middle."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clawbus.cli.options import PATIENCE_S, as_option, duration, json_option, org_option, run_async, text_of
from clawbus.cli.output import print_json, put_line, put_text, say, short
from clawbus.wire.subjects import PRIORITIES, check_id

if TYPE_CHECKING:
    from clawbus.client.client import Client
    from clawbus.client.company import Company
    from clawbus.client.values import Result, Task
    from clawbus.org import Org
    from clawbus.tasks import NewTask
    from clawbus.wire.envelope import Priority


@click.command()
@click.argument("agent")
@click.argument("text")
@click.option("--label", default="", help="A few words for lists.")
@click.option("--priority", type=click.Choice(PRIORITIES), default="medium", show_default=True)
@click.option("--run-timeout", type=click.IntRange(1, 86400), metavar="S", help="Seconds that the turn may take.")
@click.option(
    "--timeout", type=click.FloatRange(0.1), metavar="S", help="Wait no longer; the task goes on. [default: wait]"
)
@click.option(
    "--ack-within",
    callback=duration,
    metavar="DURATION",
    help="Whoever is above AGENT is told if nobody has taken it by then.",
)
@click.option(
    "--complete-within",
    callback=duration,
    metavar="DURATION",
    help="Likewise if it is not done by then; in whole minutes.",
)
@click.option("--budget", default="", metavar="BUDGET", help="What its tree of tasks may use: turns=20,minutes=30")
@click.option("--then", metavar="AGENT", help="Who takes over when it is done, along an edge of org.toml.")
@click.option("--no-wait", is_flag=True, help="Print the task's id and return.")
@as_option
@org_option
@json_option
@run_async
async def ask_command(
    agent: str,
    text: str,
    timeout: float | None,
    no_wait: bool,
    person: str | None,
    org_file: Path,
    as_json: bool,
    **options: Any,
) -> int:
    """Give AGENT a task and print its answer. TEXT may be - for standard input.

    Exit code 0 when the task is done, 1 when it ended otherwise, 5 when --timeout is over first.
    """
    from clawbus.client.client import connect
    from clawbus.client.company import Company
    from clawbus.tasks import make_task

    company = Company.open(org_file)
    task = make_task(company.org, company.speaker(person), _new_task(company.org, agent, text, **options))
    task_id = task.task_id or ""
    async with connect(org_file, person, PATIENCE_S) as client:
        given = await client.give(task)
        await _say_if_it_waits(company, person, agent)
        if no_wait:
            say({"task_id": task_id, "state": "queued"}, task_id, as_json)
            return 0
        result = await _result(client, given, timeout)
    code = report(result, as_json)
    if (then := options["then"]) and code == 0:
        put_line(f"{then} takes over. Its result: clawbus inbox {company.speaker(person)}", err=True)
    return code


def _new_task(  # noqa: PLR0913 - the options of the command that are words of the task
    org: Org,
    agent: str,
    text: str,
    *,
    label: str,
    priority: Priority,
    run_timeout: int | None,
    ack_within: int | None,
    complete_within: int | None,
    budget: str,
    then: str | None,
) -> NewTask:
    """Raises InvalidInput or NotFound, by the names that stand in the command's help."""
    from clawbus.tasks import NewTask
    from clawbus.tasks.budget import read_budget, within
    from clawbus.wire.envelope import OnComplete

    org.takers(agent, "AGENT")
    return NewTask(
        agent,
        text_of(text),
        label,
        priority,
        run_timeout,
        deadline_minutes=-(-complete_within // 60) if complete_within else None,
        ack_within_s=ack_within,
        then=OnComplete(to=check_id("--then", then)) if then else None,
        budget=within(org, read_budget("--budget", budget)),
    )


async def _say_if_it_waits(company: Company, person: str | None, agent: str) -> None:
    from clawbus.client.halt import in_the_way

    if stopped := await in_the_way(company, person, agent):
        put_line(f"clawbus: {stopped}. The task waits until a person resumes it.", err=True)


async def _result(client: Client, task: Task, timeout_s: float | None) -> Result:
    try:
        return await client.wait(task, timeout_s)
    except asyncio.CancelledError:
        later = f"It goes on. Its result: clawbus task result {short(task.id)}"
        put_text(f"\nStopped waiting for task {short(task.id)}. {later}", err=True)
        raise


def report(result: Result, as_json: bool) -> int:
    """Print how a task ended. Returns the exit code: 0 for done, 1 for anything else."""
    if as_json:
        print_json(
            {
                "task_id": result.task_id,
                "state": result.status,
                "ended_by": result.by,
                "ended_at": result.at.isoformat(),
                "result": result.text,
            }
        )
    else:
        put_text(result.text)
        if not result.done:
            put_line(f"clawbus: the task ended as {result.status}, written by {result.by}", err=True)
    return 0 if result.done else 1
