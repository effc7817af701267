"""`clawbus receipts`: who has been shown a broadcast, and when."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clawbus.cli.options import as_option, beginning, json_option, org_option, run_async
from clawbus.cli.output import moment, print_json, put_line, short
from clawbus.errors import NotFound, WireError
from clawbus.wire.channels import BCAST

if TYPE_CHECKING:
    from clawbus.bus import Bus
    from clawbus.client.company import Company
    from clawbus.wire.envelope import Envelope

_CHANNELS = ("all", "team", "topics")


@click.command()
@click.argument("thread", metavar="ID", callback=beginning)
@as_option
@org_option
@json_option
@run_async
async def receipts_command(thread: str, person: str | None, org_file: Path, as_json: bool) -> int:
    """Show who has seen the broadcast ID, and who has not."""
    from clawbus.client.company import Company
    from clawbus.org.addressing import channel_of, hearers
    from clawbus.steward.duties.broadcast_receipts import expected, seen

    company = Company.open(org_file)
    async with company.connect_person(person) as (bus, _):
        said = await _find(bus, company, thread)
        have = seen(await company.history(bus).events(said.task_id))
    asked = expected(company.org, said, channel_of(company.org, said.to))
    rows = [
        (hearer, have.get(hearer), hearer in asked) for hearer in hearers(company.org, said.to) if hearer != said.sender
    ]
    if as_json:
        agents = [
            {"agent": hearer, "seen_at": at.isoformat() if at else None, "asked": must} for hearer, at, must in rows
        ]
        print_json({"id": said.task_id, "from": said.sender, "to": said.to, "subject": said.subject, "agents": agents})
        return 0
    put_line(f"{short(said.task_id or '')}  {said.sender} -> {said.to}  {said.subject}".rstrip())
    for hearer, at, must in rows:
        put_line(f"  {hearer:<32}  {_when(at, must)}")
    return 0


def _when(at: datetime | None, must: bool) -> str:
    if at is not None:
        return f"seen {moment(at)}"
    return "not seen" if must else "not seen; nothing asks for its attention"


async def _find(bus: Bus, company: Company, thread: str) -> Envelope:
    """Raises NotFound if no broadcast begins so, or several do."""
    found: dict[str, Envelope] = {}
    for name in _CHANNELS:
        for stored in await bus.stored(BCAST, company.subjects.everything(name)):
            try:
                said = await bus.verifier.envelope(company.subjects, stored)
            except WireError:
                continue
            if (said.task_id or "").startswith(thread):
                found.setdefault(said.task_id or "", said)  # a meeting's report stands under the id of its agenda
    if len(found) != 1:
        problem = f"{len(found)} broadcasts begin with {thread}" if found else f"no broadcast begins with {thread}"
        raise NotFound(problem, "Take an id from `clawbus replay`.")
    return next(iter(found.values()))
