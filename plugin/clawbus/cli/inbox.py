"""`clawbus inbox`: what waits for an agent or a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from clawbus.bus import INBOX, fetch_now, person_reader
from clawbus.cli.options import json_option, org_option, print_json, run_async
from clawbus.company import Company
from clawbus.envelope import Envelope, decode
from clawbus.errors import Refused, WireError
from clawbus.show import inert


@click.command()
@click.argument("who", metavar="AGENT")
@click.option("--ack", is_flag=True, help="Mark what is shown as done; for a person's own inbox.")
@click.option("--limit", type=click.IntRange(1, 256), default=50, show_default=True)
@org_option
@json_option
@run_async
async def inbox_command(who: str, ack: bool, limit: int, org_file: Path, as_json: bool) -> int:
    """Show what waits in the inbox of AGENT, or of a person of the company: nothing is taken out unless --ack."""
    company = Company.open(org_file)
    is_person = who in company.org.people
    if not is_person:
        company.org.agent(who, "AGENT")
    if ack and not is_person:
        raise Refused(f"{who} is an agent: only it acknowledges its messages", "Leave out --ack.")
    shown: list[dict[str, Any]] = []
    async with company.connect_person(who if is_person else None) as (bus, _):
        if ack:
            for delivery in await fetch_now(bus, INBOX, person_reader(who), limit):
                shown.append(_row(company, delivery.stream_seq, delivery.subject, delivery.data))
                await bus.ack(delivery.ack_subject)
        else:
            stored = await bus.stored(INBOX, company.subjects.dm_for(who))
            shown = [_row(company, one.seq, one.subject, one.data) for one in stored[:limit]]
    if as_json:
        print_json(shown)
        return 0
    for row in shown:
        click.echo(inert(f"#{row['seq']}  {row['type']}  from {row['from']}  {row['at']}  {row['subject']}".rstrip()))
        click.echo(inert(f"    {row['body']}\n".replace("\n", "\n    ").rstrip()))
    click.echo("" if shown else f"The inbox of {who} is empty.", nl=not shown)
    return 0


def _row(company: Company, seq: int, subject: str, data: bytes) -> dict[str, Any]:
    try:
        sender = company.subjects.parse(subject).sender
        mail: Envelope = decode(data, sender)
    except WireError as error:
        return {"seq": seq, "type": "malformed", "from": "?", "at": "", "subject": "", "body": str(error)}
    return {
        "seq": seq,
        "type": mail.type,
        "from": sender,
        "at": mail.created_at.isoformat(timespec="seconds"),
        "subject": mail.subject,
        "task_id": mail.task_id,
        "status": mail.status,
        "body": mail.body,
    }
