"""`clawbus dead list|show|redrive|prune`: what could not be dealt with, and a person's word on it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clawbus.cli.options import Group, as_option, beginning, json_option, org_option, run_async
from clawbus.cli.output import moment, print_json, put_line, put_text, say, short
from clawbus.errors import InvalidInput, Refused

if TYPE_CHECKING:
    from clawbus.client.dead_letters import Letter


@click.group(cls=Group)
def dead_command() -> None:
    """Look at dead letters, redrive them (give their tasks again), or prune them (throw them away)."""


@dead_command.command(name="list")
@as_option
@org_option
@json_option
@run_async
async def list_letters(person: str | None, org_file: Path, as_json: bool) -> int:
    """List the dead letters: who sent what to whom, and the reason."""
    from clawbus.client import dead_letters
    from clawbus.client.company import Company

    company = Company.open(org_file)
    async with company.connect_person(person) as (bus, _):
        letters = await dead_letters.letters_of(bus, company)
    if as_json:
        print_json([letter.as_json() for letter in letters])
        return 0
    for letter in letters:
        who = f"{letter.task.get('from')} -> {letter.task.get('to')}" if letter.task else f"put down by {letter.by}"
        label = f"  {letter.task['subject']}" if letter.task.get("subject") else ""
        put_line(f"{short(letter.task_id)}  {_at(letter)}  {who}{label}")
        put_text(letter.word("reason"), indent=4)
    if not letters:
        put_line("There are no dead letters.")
    return 0


@dead_command.command()
@click.argument("text", metavar="ID", callback=beginning)
@as_option
@org_option
@json_option
@run_async
async def show(text: str, person: str | None, org_file: Path, as_json: bool) -> int:
    """Show one dead letter: the reason, and the task as it was. Of what was no task, it shows the bytes."""
    from clawbus.client import dead_letters
    from clawbus.client.company import Company

    company = Company.open(org_file)
    async with company.connect_person(person) as (bus, _):
        letter = await dead_letters.find_letter(bus, company, text)
    if as_json:
        print_json(letter.as_json())
        return 0
    said, task = letter.said, letter.task
    rows = [
        ("dead letter", letter.task_id),
        ("put down by", letter.by),
        ("at", _at(letter)),
        ("reason", said.get("reason")),
        ("came on", said.get("subject")),
        ("from", task.get("from")),
        ("to", task.get("to")),
        ("label", task.get("subject")),
        ("priority", task.get("priority")),
        ("path", dead_letters.text_of(task.get("path"))),
    ]
    for name, value in rows:
        if value:
            put_line(f"{name:>11}  {dead_letters.text_of(value)}")
    put_text(f"\n{dead_letters.text_of(task.get('body')) or dead_letters.raw_of(said)}")
    return 0


@dead_command.command()
@click.argument("text", metavar="ID", callback=beginning)
@click.option("--to", metavar="AGENT", help="Another worker than it had.")
@as_option
@org_option
@json_option
@run_async
async def redrive(text: str, to: str | None, person: str | None, org_file: Path, as_json: bool) -> int:
    """Give the task of a dead letter again. Its result goes to the requester."""
    from clawbus.client import dead_letters
    from clawbus.client.company import Company
    from clawbus.org import STEWARD

    company = Company.open(org_file)
    if to is not None:
        company.org.takers(to, "--to")
    async with company.connect_person(person) as (bus, me):
        letter = await dead_letters.find_letter(bus, company, text)
        if not letter.task:
            raise Refused(f"{short(letter.task_id)} was no task: there is nothing to give again", "Prune it.")
        if to is None:  # who it was for may have left
            company.org.takers(dead_letters.text_of(letter.task.get("to")), "--to")
        await dead_letters.order(bus, company, me, letter.task_id, {"do": "redrive", **({"to": to} if to else {})})
        events = await company.history(bus).events(letter.task_id)
    new = [str(event.detail.get("task")) for event in events if event.kind == "chained" and event.sender == STEWARD][
        -1:
    ]
    data = {"task_id": letter.task_id, "redriven_as": new[0] if new else None}
    say(data, f"redriven as {short(new[0])}" if new else "redriven", as_json)
    return 0


@dead_command.command()
@click.argument("texts", metavar="[ID]...", nargs=-1, callback=beginning)
@click.option("--all", "every", is_flag=True, help="All dead letters.")
@as_option
@org_option
@json_option
@run_async
async def prune(texts: Sequence[str], every: bool, person: str | None, org_file: Path, as_json: bool) -> int:
    """Throw dead letters away, and clear their alerts. Their requesters were told when they died."""
    from clawbus.client import dead_letters
    from clawbus.client.company import Company

    if bool(texts) == every:
        raise InvalidInput("ID", " ".join(texts), "name letters, or say --all; not both", "List: clawbus dead list")
    company = Company.open(org_file)
    async with company.connect_person(person) as (bus, me):
        if every:
            ids = await dead_letters.prune_all(bus, company, me)
        else:
            letters = [await dead_letters.find_letter(bus, company, text) for text in texts]
            ids = list(dict.fromkeys(letter.task_id for letter in letters))
            for task_id in ids:
                await dead_letters.order(bus, company, me, task_id, {"do": "prune"})
    say({"pruned": ids}, f"{len(ids)} pruned", as_json)
    return 0


def _at(letter: Letter) -> str:
    """The moment at which it was put down, as the letter says; its own words if that is no time."""
    try:
        return moment(datetime.fromisoformat(letter.word("at")))
    except (ValueError, OverflowError):
        return letter.word("at")[:19]
