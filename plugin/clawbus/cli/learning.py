"""`clawbus learning`: what the company has learned, and a person's word on it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clawbus.cli.options import Group, as_option, beginning, json_option, org_option, run_async
from clawbus.cli.output import moment, print_json, put_line, put_text, say, short
from clawbus.errors import NotFound, Refused
from clawbus.wire.subjects import new_message_id

if TYPE_CHECKING:
    from clawbus.bus import Bus
    from clawbus.org import Org
    from clawbus.tasks.learning import Insight, Word

_STATES = ("open", "awaiting", "promoted", "refused", "retracted", "expired")


@click.group(cls=Group)
def learning_command() -> None:
    """See what agents have learned, and decide what comes into use."""


@learning_command.command(name="list")
@click.option("--state", type=click.Choice(_STATES), help="Only those.")
@as_option
@org_option
@json_option
@run_async
async def list_insights(state: str | None, person: str | None, org_file: Path, as_json: bool) -> int:
    """List all insights, the oldest first: state, trust, author."""
    from clawbus.client.company import Company
    from clawbus.tasks.learning import insights

    company = Company.open(org_file)
    async with company.connect_person(person) as (bus, _):
        found = [insight for insight in (await insights(bus, company.org)).values() if state in (None, insight.state)]
    if as_json:
        print_json([asdict(insight) for insight in found])
        return 0
    for insight in found:
        head = f"{short(insight.id)}  {insight.state:<9} {insight.trust:>3} %  {insight.author}"
        put_line(f"{head}  {insight.subject or insight.text}"[:160].replace("\n", " "))
    if not found:
        put_line("No insights yet. Agents share them with nats_pub to learning.")
    return 0


@learning_command.command()
@click.argument("insight", metavar="ID", callback=beginning)
@as_option
@org_option
@json_option
@run_async
async def show(insight: str, person: str | None, org_file: Path, as_json: bool) -> int:
    """Show one insight with its provenance."""
    from clawbus.client.company import Company

    company = Company.open(org_file)
    async with company.connect_person(person) as (bus, _):
        one = await _one(bus, company.org, insight)
    if as_json:
        print_json(asdict(one))
        return 0
    facts = {
        "id": one.id,
        "state": one.state + (f" ({one.decision} by {one.decided_by})" if one.decision else ""),
        "trust": f"{one.trust} %",
        "from": f"{one.author}, gateway {one.gateway or '-'}, tree of {short(one.trace) or '-'}",
        "said": moment(one.at),
        "expires": moment(one.expires_at),
        "confirmed": ", ".join(one.confirmed_by) or "by nobody yet",
    }
    for name, value in facts.items():
        put_line(f"{name:>9}  {value}")
    put_text(f"\n{one.subject}\n{one.text}".replace("\n\n", "\n", 1))
    return 0


def _deciding(word: Word, does: str) -> click.Command:
    @click.argument("insight", metavar="ID", callback=beginning)
    @as_option
    @org_option
    @json_option
    @run_async
    async def command(insight: str, person: str | None, org_file: Path, as_json: bool) -> int:
        from clawbus.client.company import Company
        from clawbus.wire.envelope import Envelope

        company = Company.open(org_file)
        async with company.connect_person(person) as (bus, me):
            one = await _one(bus, company.org, insight)
            if one.state in ("retracted", "expired"):
                raise Refused(
                    f"the insight {short(one.id)} is {one.state}", "An agent may say it again: that is a new one."
                )
            said = Envelope(id=new_message_id(me), type="confirm", sender=me, to="learning", task_id=one.id, body=word)
            await bus.publish(company.subjects.build("learning", me), said.encode(), msg_id=said.id)
        say({"id": one.id, "word": word}, f"{word}: {short(one.id)}, by {me}. A steward carries it out.", as_json)
        return 0

    return click.command(word, help=does)(command)


for _word, _does in (
    ("promote", "Put an insight into use: every agent reads it with its tasks until it expires."),
    ("refuse", "Keep an insight out of use, or take it out. It may be promoted later."),
    ("retract", "Take an insight back for good."),
):
    learning_command.add_command(_deciding(_word, _does))  # type: ignore[arg-type]  # the three words


async def _one(bus: Bus, org: Org, prefix: str) -> Insight:
    from clawbus.tasks.learning import insights

    found = [one for key, one in (await insights(bus, org)).items() if key.startswith(prefix.lower())]
    if len(found) != 1:
        many = f"{len(found)} insights begin with {prefix!r}" if found else f"no insight begins with {prefix!r}"
        raise NotFound(many, "List them with `clawbus learning list`.")
    return found[0]
