"""`clawbus stop`: no agent begins a turn (ADR 21). Here is what it shares with `pause` and `resume`, too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from clawbus.cli.options import as_option, json_option, org_option, run_async
from clawbus.cli.output import print_json, put_line
from clawbus.errors import BusAway, InvalidInput
from clawbus.wire.subjects import check_id

if TYPE_CHECKING:
    from clawbus.bus import Bus
    from clawbus.client.company import Company
    from clawbus.client.halt import HaltReport
    from clawbus.tasks.halt_orders import Order, State

why_option = click.option("--why", default="", help="Agents and people read it.")
_DONE = {
    "stopped": "is stopped: no turn begins, and those that the bus has begun are ended. Their tasks wait.",
    "paused": "is paused: its turn goes on to its end, and no other begins. Its tasks wait.",
    "running": "may work again.",
}
_STANDS = "The order is on disk, and counts. See with `clawbus state` who obeys."
_UNSAID = (
    "A node that does not reach the bus begins nothing, but turns that run go on: to end those, stop their gateways. "
    "Order it again when the server is back."
)


@click.command()
@click.argument("agent", required=False, metavar="")
@click.option("--all", "everyone", is_flag=True, help="The whole company.")
@why_option
@as_option
@org_option
@json_option
@run_async
async def stop_command(
    agent: str | None, everyone: bool, why: str, person: str | None, org_file: Path, as_json: bool
) -> int:
    """Stop the whole company: no agent begins a turn, and turns that the bus has begun are ended.

    Every node obeys within 5 s, and one that is away before it begins anything. Nothing is lost. Exit code 1 if a node
    has not obeyed by then.
    """
    from clawbus.tasks.halt_orders import ALL

    if agent is not None or not everyone:
        remedy = f"Write `clawbus stop --all`; for one agent there is `clawbus pause {agent or 'AGENT'}`."
        raise InvalidInput("AGENT", agent or "", "a stop is for the whole company", remedy)
    return await give(org_file, person, ALL, "stopped", why, as_json)


def target_of(agent: str | None, everyone: bool) -> str:
    """Raises InvalidInput unless exactly one is said."""
    from clawbus.tasks.halt_orders import ALL

    if everyone == (agent is not None):
        raise InvalidInput("AGENT", agent or "", "say either an agent or --all", "Look with `clawbus state`.")
    if agent == ALL:
        raise InvalidInput("AGENT", agent, "no agent", "For the whole company write --all.")
    return ALL if agent is None else check_id("AGENT", agent)  # an empty word is not everyone


async def give(org_file: Path, person: str | None, target: str, state: State, why: str, as_json: bool) -> int:
    from clawbus.client.company import Company
    from clawbus.client.halt import WITHIN_S, check_target, order

    company = Company.open(org_file)
    if state != "running":
        check_target(company.org, target)
    try:
        async with company.connect_person(person) as (bus, me):
            await order(bus, company, me, target, state, why)
            found, left = await _obeyed(bus, company, me)
    except BusAway as away:
        if state == "stopped" and away.remedy != _STANDS:
            away.remedy = f"{_UNSAID} {away.remedy}"
        raise
    if as_json:
        said = {"obeys": found.obeys, "not_yet": found.not_yet, "away": found.away}
        print_json({"target": target, "state": state, "by": me, "why": why} | said)
    else:
        _print(target, state, found, left)
    if found.not_yet:
        put_line(f"not obeyed within {WITHIN_S:g} s: {', '.join(found.not_yet)}. Run `clawbus doctor`.", err=True)
    return 1 if found.not_yet else 0


def _print(target: str, state: State, found: HaltReport, left: list[Order]) -> None:
    from clawbus.tasks.halt_orders import ALL

    put_line(f"{'the company' if target == ALL else target} {_DONE[state]}")
    for name, agents in (("their nodes obey", found.obeys), ("away; they obey when they are back", found.away)):
        if agents:
            put_line(f"{name}: {', '.join(agents)}")
    for order in left if state == "running" else ():
        put_line(f"Still: {order}")


async def _obeyed(bus: Bus, company: Company, me: str) -> tuple[HaltReport, list[Order]]:
    """The nodes' answers to an order, and the orders that stand. Raises BusAway."""
    from clawbus.client.halt import obedience, standing

    try:
        return await obedience(bus, company, me), (await standing(bus, company)).standing()
    except BusAway as away:
        away.remedy = _STANDS
        raise
