"""`clawbus inbox`: what waits for an agent or a person."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clawbus.cli.options import PATIENCE_S, json_option, org_option, run_async
from clawbus.cli.output import moment, print_json, put_line, put_text, short
from clawbus.errors import Refused

if TYPE_CHECKING:
    from clawbus.client.values import Message


@click.command()
@click.argument("who", metavar="AGENT")
@click.option("--ack", is_flag=True, help="Mark what is shown as done; for a person's own inbox.")
@click.option("--limit", type=click.IntRange(1, 256), default=50, show_default=True)
@org_option
@json_option
@run_async
async def inbox_command(who: str, ack: bool, limit: int, org_file: Path, as_json: bool) -> int:
    """Show what waits in the inbox of AGENT, or of a person of the company: nothing is taken out unless --ack."""
    from clawbus.client.client import connect
    from clawbus.client.company import Company
    from clawbus.org import STEWARD

    company = Company.open(org_file)
    is_person = who in company.org.people
    if not is_person:
        company.org.agent(who, "AGENT")
    if ack and not is_person:
        raise Refused(f"{who} is an agent: only it acknowledges its messages", "Leave out --ack.")
    async with connect(org_file, who if is_person else None, PATIENCE_S) as client:
        found = await client.read(limit) if ack else await client.inbox(who, limit)
    shown = [_row(mail) for mail in found]
    if as_json:
        print_json(shown)
        return 0
    for mail, row in zip(found, shown, strict=True):
        put_line(f"#{row['seq']}  {row['type']}  from {row['from']}  {moment(mail.at)}  {row['subject']}".rstrip())
        put_text(row["body"], indent=4)
        if is_person and row["type"] == "blocker" and row["from"] != STEWARD:  # the steward says itself how
            put_line(f"    Answer it: clawbus send {row['from']} TEXT --about {short(mail.task_id or '')}")
    if not shown:
        put_line(f"The inbox of {who} is empty.")
    return 0


def _row(mail: Message) -> dict[str, Any]:
    return {
        "seq": mail.number,
        "type": mail.type,
        "from": mail.sender,
        "at": mail.at.isoformat(timespec="seconds"),
        "subject": mail.subject,
        "task_id": mail.task_id,
        "status": mail.status,
        "body": mail.text,
    }
