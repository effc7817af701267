"""`clawbus ask` and `clawbus send`: a person speaks to an agent, without a model in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import get_args

import click

from clawbus.asking import Person, make_message
from clawbus.bus import End
from clawbus.cli.options import as_option, json_option, org_option, print_json, run_async, say
from clawbus.company import Company
from clawbus.errors import Away
from clawbus.show import inert
from clawbus.subjects import PRIORITIES
from clawbus.tasks import NewTask, make_task
from clawbus.tools.models import MessageType


@click.command()
@click.argument("agent")
@click.argument("text")
@click.option("--label", default="", help="A few words for lists.")
@click.option("--priority", type=click.Choice(PRIORITIES), default="medium", show_default=True)
@click.option("--run-timeout", type=click.IntRange(1, 86400), metavar="S", help="Seconds that the turn may take.")
@click.option(
    "--timeout", type=click.FloatRange(0.1), metavar="S", help="Wait no longer; the task goes on. [default: wait]"
)
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
    no_wait: bool,
    person: str | None,
    org_file: Path,
    as_json: bool,
) -> int:
    """Give AGENT a task and print its answer. TEXT may be - for standard input.

    Exit code 0 when the task is done, 1 when it ended otherwise, 5 when --timeout is over first.
    """
    company = Company.open(org_file)
    new = NewTask(agent, _text(text), label, priority, run_timeout)  # type: ignore[arg-type]  # click has checked it
    task = make_task(company.org, company.speaker(person), new)
    task_id = task.task_id or ""
    async with company.connect_person(person) as (bus, me):
        one = Person(company, bus, me)
        await one.give(task)
        if no_wait:
            say({"task_id": task_id, "state": "queued"}, task_id, as_json)
            return 0
        end = await _wait(one, task_id, agent, timeout)
        code = report(task_id, end, as_json)
        with contextlib.suppress(Away):
            await one.took(task_id)
    return code


async def _wait(one: Person, task_id: str, agent: str, timeout_s: float | None) -> End:
    later = f"It goes on. Its result: clawbus task result {task_id}"
    try:
        async with asyncio.timeout(timeout_s):
            return await one.wait(task_id, one.me, agent)
    except TimeoutError:
        raise Away(f"task {task_id} at {agent} has not ended within {timeout_s:g} s", later) from None
    except asyncio.CancelledError:
        click.echo(f"\nStopped waiting for task {task_id}. {later}", err=True)
        raise


def report(task_id: str, end: End, as_json: bool) -> int:
    """Print how a task ended. Returns the exit code: 0 for done, 1 for anything else."""
    if as_json:
        print_json(
            {
                "task_id": task_id,
                "state": end.status,
                "ended_by": end.by,
                "ended_at": end.at.isoformat(),
                "result": end.envelope.body,
            }
        )
    else:
        click.echo(inert(end.envelope.body))
        if end.status != "done":
            click.echo(f"clawbus: the task ended as {end.status}, written by {end.by}", err=True)
    return 0 if end.status == "done" else 1


@click.command()
@click.argument("agent")
@click.argument("text")
@click.option("--type", "kind", type=click.Choice(get_args(MessageType)), default="message", show_default=True)
@click.option("--subject", default="", help="A few words.")
@as_option
@org_option
@json_option
@run_async
async def send_command(
    agent: str,
    text: str,
    kind: str,
    subject: str,
    person: str | None,
    org_file: Path,
    as_json: bool,
) -> int:
    """Put a message into AGENT's inbox; no answer is expected. TEXT may be - for standard input."""
    company = Company.open(org_file)
    mail = make_message(company.org, company.speaker(person), agent, _text(text), kind, subject)  # type: ignore[arg-type]
    async with company.connect_person(person) as (bus, me):
        await Person(company, bus, me).send(mail)
    say({"message_id": mail.id}, f"sent to {agent}", as_json)
    return 0


def _text(text: str) -> str:
    return sys.stdin.read() if text == "-" else text
