"""`clawbus send`: a person sends a message, for which no answer is expected."""

from __future__ import annotations

from pathlib import Path

import click

from clawbus.cli.options import PATIENCE_S, as_option, json_option, org_option, run_async, text_of
from clawbus.cli.output import say
from clawbus.wire.subjects import PRIORITIES

_TYPES = ("message", "report", "progress", "blocker", "insight", "confirm", "contribution")


@click.command()
@click.argument("to")
@click.argument("text")
@click.option("--type", "kind", type=click.Choice(_TYPES), default="message", show_default=True)
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
    from clawbus.client.client import connect
    from clawbus.client.company import Company
    from clawbus.tasks.new_message import NewMessage, make_message

    company = Company.open(org_file)
    me = company.speaker(person)
    new = NewMessage(to, text_of(text), kind, subject, priority, about)  # type: ignore[arg-type]  # click has checked it
    mail = make_message(company.org, me, new)
    async with connect(org_file, person, PATIENCE_S) as client:
        await client.post(mail)
    said = {"message_id": mail.id, "to": mail.to, "task_id": mail.task_id}
    say(said, f"sent to {mail.to}" + (f", as {mail.task_id}" if mail.task_id else ""), as_json)
    return 0
