"""`clawbus send`: a person sends a message, for which no answer is expected."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from clawbus.cli.options import (
    ID_CHARS,
    PATIENCE_S,
    as_option,
    beginning,
    json_option,
    org_option,
    run_async,
    text_of,
    the_one,
)
from clawbus.cli.output import say, short
from clawbus.errors import NotFound
from clawbus.wire.subjects import PRIORITIES

if TYPE_CHECKING:
    from clawbus.client.company import Company

_TYPES = ("message", "report", "progress", "blocker", "insight", "confirm", "contribution")


@click.command()
@click.argument("to")
@click.argument("text")
@click.option("--type", "kind", type=click.Choice(_TYPES), default="message", show_default=True)
@click.option("--subject", default="", help="A few words.")
@click.option("--priority", type=click.Choice(PRIORITIES), default="medium", show_default=True)
@click.option(
    "--about",
    metavar="ID",
    callback=beginning,
    help="The task, the blocker that it answers, or the insight that it confirms.",
)
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
    from clawbus.client.client import connect
    from clawbus.client.company import Company
    from clawbus.tasks.new_message import NewMessage, make_message

    company = Company.open(org_file)
    if about is not None and len(about) < ID_CHARS:
        about = await _whole(company, person, about)
    me = company.speaker(person)
    new = NewMessage(to, text_of(text), kind, subject, priority, about)  # type: ignore[arg-type]  # click has checked it
    mail = make_message(company.org, me, new)
    async with connect(org_file, person, PATIENCE_S) as client:
        await client.post(mail)
    said = {"message_id": mail.id, "to": mail.to, "task_id": mail.task_id}
    say(said, f"sent to {mail.to}" + (f", as {short(mail.task_id)}" if mail.task_id else ""), as_json)
    return 0


async def _whole(company: Company, person: str | None, about: str) -> str:
    """The id that begins so, of all that the streams remember. Raises NotFound, InvalidInput, BusAway."""
    from clawbus.client.replay import moments

    async with company.connect_person(person) as (bus, _):
        known = {entry.task_id for entry in await moments(bus, company)}
    nothing = NotFound(f"nothing that is remembered begins with {about}", "Take an id from `clawbus replay`.")
    return the_one(about, known, nothing)
