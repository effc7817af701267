"""`clawbus meet`: a person calls a meeting; the steward holds it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clawbus.cli.options import as_option, duration, json_option, org_option, run_async
from clawbus.cli.output import lasting, say, short
from clawbus.errors import Away, WireError
from clawbus.wire.channels import BCAST
from clawbus.wire.subjects import new_message_id, new_task_id

if TYPE_CHECKING:
    from clawbus.bus import Bus
    from clawbus.client.company import Company
    from clawbus.wire.envelope import Envelope, Type

_TAKEN_WITHIN_S = 15.0
_LATE_S = 60.0
_LONGEST_S = 86_400


@click.command()
@click.argument("team", metavar="TEAM|all")
@click.option("--agenda", required=True, help="What it is about, and what each is to say.")
@click.option(
    "--for", "lasts_s", callback=duration, default="10m", show_default=True, metavar="DURATION", help="At most a day."
)
@click.option("--wait", is_flag=True, help="Wait for the report and print it.")
@as_option
@org_option
@json_option
@run_async
async def meet_command(
    team: str, agenda: str, lasts_s: int | None, wait: bool, person: str | None, org_file: Path, as_json: bool
) -> int:
    """Ask each agent of TEAM for a contribution; one report goes to all, and into your inbox.

    It ends when everyone has contributed, or when --for is over.
    """
    from clawbus.client.company import Company
    from clawbus.org import STEWARD
    from clawbus.steward.meeting import members
    from clawbus.wire.envelope import check_body

    company, lasts_s = Company.open(org_file), min(lasts_s or 1, _LONGEST_S)
    asked = members(company.org, team)
    check_body("--agenda", agenda)
    async with company.connect_person(person) as (bus, me):
        begin = int((await bus.api(f"STREAM.INFO.{BCAST}"))["state"]["last_seq"]) + 1
        order = _order(me, {"of": team, "agenda": agenda, "lasts_s": lasts_s})
        await bus.publish(company.subjects.ctl(STEWARD, me), order.encode(), msg_id=order.id)
        meeting_id = order.task_id or ""
        late = Away(
            f"no steward has taken the meeting {short(meeting_id)} within {_TAKEN_WITHIN_S:g} s; one will begin it",
            "`clawbus up` runs one; so does `clawbus steward`.",
        )
        await _heard(company, bus, team, meeting_id, "message", begin, _TAKEN_WITHIN_S, late)
        data = {"meeting_id": meeting_id, "asked": list(asked), "lasts_s": lasts_s}
        text = f"Meeting {short(meeting_id)} of {team}, for {lasting(lasts_s)}: {', '.join(asked)}."
        if not wait:
            say(data, text, as_json)
            return 0
        later = Away("there is no report yet", f"It comes into your inbox: clawbus inbox {me}")
        report = await _heard(company, bus, team, meeting_id, "report", begin, lasts_s + _LATE_S, later)
    say(data | {"report": report.body}, report.body, as_json)
    return 0


def _order(me: str, body: dict[str, object]) -> Envelope:
    from clawbus.org import STEWARD
    from clawbus.steward.duties.meetings import ORDER
    from clawbus.wire.envelope import Envelope

    return Envelope(
        id=new_message_id(me),
        type="control",
        sender=me,
        to=STEWARD,
        task_id=new_task_id(),
        subject=ORDER,
        body=json.dumps(body),
    )


async def _heard(
    company: Company, bus: Bus, of: str, meeting_id: str, kind: Type, begin: int, timeout_s: float, late: Away
) -> Envelope:
    """The steward's message of a meeting on its channel. It is looked for twice a second. Raises `late`."""
    from clawbus.org import STEWARD

    subjects = company.subjects
    subject = subjects.build("all", STEWARD) if of == "all" else subjects.build("team", STEWARD, team=of)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        for stored in await bus.stored(BCAST, subject, begin):
            with contextlib.suppress(WireError):
                said = await bus.verifier.envelope(subjects, stored)
                if (said.task_id, said.type) == (meeting_id, kind):
                    return said
        await asyncio.sleep(0.5)
    raise late
