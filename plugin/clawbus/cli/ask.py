"""`clawbus ask` and `clawbus send`: a person speaks to an agent, without a model in the middle."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import get_args

import click

from clawbus.cli.options import PATIENCE_S, as_option, duration, json_option, org_option, run_async
from clawbus.cli.output import print_json, put_line, put_text, say
from clawbus.client import Client, Result, Task, connect
from clawbus.client.company import Company
from clawbus.client.halt import in_the_way
from clawbus.errors import InvalidInput
from clawbus.tasks import NewTask, make_task
from clawbus.tasks.budget import read_budget, within
from clawbus.tasks.new_message import NewMessage, make_message
from clawbus.wire.envelope import MessageType, OnComplete
from clawbus.wire.subjects import PRIORITIES, check_id


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
async def ask_command(  # noqa: PLR0913, PLR0917 - click hands each option over as one argument
    agent: str,
    text: str,
    label: str,
    priority: str,
    run_timeout: int | None,
    timeout: float | None,
    ack_within: int | None,
    complete_within: int | None,
    budget: str,
    then: str | None,
    no_wait: bool,
    person: str | None,
    org_file: Path,
    as_json: bool,
) -> int:
    """Give AGENT a task and print its answer. TEXT may be - for standard input.

    Exit code 0 when the task is done, 1 when it ended otherwise, 5 when --timeout is over first.
    """
    company = Company.open(org_file)
    minutes = -(-complete_within // 60) if complete_within else None
    new = NewTask(
        _task_consumer(company, agent),
        _text(text),
        label,
        priority,  # type: ignore[arg-type]  # click has checked it
        run_timeout,
        deadline_minutes=minutes,
        ack_within_s=ack_within,
        then=OnComplete(to=check_id("--then", then)) if then else None,
        budget=within(company.org, read_budget("--budget", budget)),
    )
    task = make_task(company.org, company.speaker(person), new)
    task_id = task.task_id or ""
    async with connect(org_file, person, PATIENCE_S) as client:
        given = await client.give(task)
        await _say_if_it_waits(company, person, agent)
        if no_wait:
            say({"task_id": task_id, "state": "queued"}, task_id, as_json)
            return 0
        result = await _result(client, given, timeout)
    code = report(result, as_json)
    if then and code == 0:
        put_line(f"{then} takes over. Its result: clawbus inbox {company.speaker(person)}", err=True)
    return code


def _task_consumer(company: Company, agent: str) -> str:
    """Raises InvalidInput or NotFound, by the name that stands in the command's help."""
    company.org.takers(agent, "AGENT")
    return agent


async def _say_if_it_waits(company: Company, person: str | None, agent: str) -> None:
    if stopped := await in_the_way(company, person, agent):
        put_line(f"clawbus: {stopped}. The task waits until a person resumes it.", err=True)


async def _result(client: Client, task: Task, timeout_s: float | None) -> Result:
    try:
        return await client.wait(task, timeout_s)
    except asyncio.CancelledError:
        later = f"It goes on. Its result: clawbus task result {task.id}"
        put_text(f"\nStopped waiting for task {task.id}. {later}", err=True)
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


@click.command()
@click.argument("to")
@click.argument("text")
@click.option("--type", "kind", type=click.Choice(get_args(MessageType)), default="message", show_default=True)
@click.option("--subject", default="", help="A few words.")
@click.option("--priority", type=click.Choice(PRIORITIES), default="medium", show_default=True)
@click.option("--about", metavar="ID", help="The task, the blocker that it answers, or the insight that it confirms.")
@as_option
@org_option
@json_option
@run_async
async def send_command(  # noqa: PLR0913, PLR0917 - click hands each option over as one argument
    to: str,
    text: str,
    kind: str,
    subject: str,
    priority: str,
    about: str | None,
    person: str | None,
    org_file: Path,
    as_json: bool,
) -> int:
    """Send a message TO an agent, a person, team:ID, all, topic:KIND.NAME or learning; no answer is expected.

    TEXT may be - for standard input. A blocker goes to whom the person reports to.
    """
    company = Company.open(org_file)
    me = company.speaker(person)
    new = NewMessage(to, _text(text), kind, subject, priority, about)  # type: ignore[arg-type]  # click has checked it
    mail = make_message(company.org, me, new)
    async with connect(org_file, person, PATIENCE_S) as client:
        await client.post(mail)
    said = {"message_id": mail.id, "to": mail.to, "task_id": mail.task_id}
    say(said, f"sent to {mail.to}" + (f", as {mail.task_id}" if mail.task_id else ""), as_json)
    return 0


def _text(text: str) -> str:
    """Raises InvalidInput if it is - and standard input cannot be read."""
    if text != "-":
        return text
    try:
        return sys.stdin.read()
    except UnicodeDecodeError:
        raise InvalidInput("TEXT", text, "standard input is not UTF-8", "Save it as UTF-8, then pipe it in.") from None
