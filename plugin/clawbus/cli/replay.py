"""`clawbus replay`: what happened, as a timeline that a person reads, or as JSON."""

from __future__ import annotations

import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clawbus.cli.options import as_option, beginning, json_option, org_option, run_async, the_one
from clawbus.cli.output import moment, print_json, put_line, put_text, short
from clawbus.cli.screen import word_of
from clawbus.errors import InvalidInput, NotFound
from clawbus.wire.sanitize import inert
from clawbus.wire.subjects import check_id

if TYPE_CHECKING:
    from clawbus.client.replay import TimelineEntry

_WIDE = 90


@click.command()
@click.option("--task", metavar="ID", callback=beginning, help="One task, and all that came of it.")
@click.option("--agent", metavar="AGENT", help="What an agent said and was given; or a person.")
@click.option("--since", metavar="WHEN", help='"2h", "30m", "3d" ago; or a time such as 2026-04-07T08:00.')
@click.option("--full", is_flag=True, help="Texts whole, not their first line.")
@as_option
@org_option
@json_option
@run_async
async def replay_command(
    task: str | None,
    agent: str | None,
    since: str | None,
    full: bool,
    person: str | None,
    org_file: Path,
    as_json: bool,
) -> int:
    """Show what happened, from the streams: tasks, broadcasts, insights, alerts, dead letters, in their order.

    Times are the server's, in UTC. Without options: all that is remembered (tasks 14 days, their ends 30).
    """
    from clawbus.client.company import Company
    from clawbus.client.replay import chosen, moments

    company = Company.open(org_file)
    begin = _moment(since) if since else None
    if agent:
        check_id("--agent", agent)
    async with company.connect_person(person) as (bus, _):
        found = await moments(bus, company)
    if task:
        nothing = NotFound(f"no task {task} is remembered", "List them with `clawbus tasks`.")
        task = the_one(task, (entry.task_id for entry in found), nothing)
    if agent and all(agent not in (entry.who, entry.to) for entry in found) and agent not in company.org.people:
        company.org.takers(agent, "--agent")  # who has left is remembered, and so is the steward
    found = chosen(found, task, agent, begin)
    if as_json:
        print_json([entry.as_json() for entry in found])
        return 0
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 120
    for entry in found:
        put_text(line(entry, full, width))
    if not found:
        put_line("Nothing is remembered of that.")
    return 0


def line(entry: TimelineEntry, full: bool, width: int = 120) -> str:
    """One entry: moment, id, who to whom, what, and its text. A narrow terminal gets three lines."""
    to = short(entry.to) if entry.to == entry.task_id else entry.to  # an alert is about something
    who = inert(f"{entry.who} -> {to}" if to and to != entry.who else entry.who, lines=False)
    stamp, what = moment(entry.at, exact=True), word_of(entry.what)
    if width < _WIDE:
        return f"{stamp} {short(entry.task_id)}\n  {who}: {what}\n  {_text(entry.text, full, width - 4)}".rstrip()
    head = f"{stamp}  {short(entry.task_id):8}  {who:34}  {what:14}"
    return f"{head}  {_text(entry.text, full, max(20, width - len(head) - 2))}".rstrip()


def _text(text: str, full: bool, room: int) -> str:
    text = inert(text).strip()
    if full:
        return text.replace("\n", "\n    ")
    first, _, rest = text.partition("\n")
    return first if not rest and len(first) <= room else f"{first[: room - 2]} …"


def _moment(text: str) -> datetime:
    """The point in time that an age ("2h") or a date names. Raises InvalidInput."""
    from clawbus.org.duration import seconds

    try:
        age = seconds(text)
        if isinstance(age, int):
            return datetime.now(UTC) - timedelta(seconds=age)
    except (ValueError, OverflowError):
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        remedy = 'Write an age such as "2h", or a time such as 2026-04-07T08:00.'
        raise InvalidInput("--since", text, "neither an age nor a time", remedy) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
