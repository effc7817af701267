"""`clawbus state`: who is stopped or paused, and whose node obeys."""

from __future__ import annotations

from pathlib import Path

import click

from clawbus.cli.options import as_option, json_option, org_option, run_async
from clawbus.cli.output import moment, print_json, put_line


@click.command()
@as_option
@org_option
@json_option
@run_async
async def state_command(person: str | None, org_file: Path, as_json: bool) -> int:
    """Say what is stopped or paused, by whom and why, and whose node obeys."""
    from clawbus.client.company import Company
    from clawbus.client.halt import obedience, standing

    company = Company.open(org_file)
    async with company.connect_person(person) as (bus, me):
        halt = await standing(bus, company)
        found = await obedience(bus, company, me, 0.6)
    agents = {agent.id: halt.word(agent.id) for agent in company.org.agents}
    if as_json:
        orders = [order.as_json() for order in halt.standing()]
        print_json({"orders": orders, "agents": agents, "not_yet": found.not_yet, "away": found.away})
        return 0
    for order in halt.standing():
        put_line(f"{moment(order.at)}  {order}" if order.at else str(order))
    for agent, state in agents.items():
        seen = "  (its node is away)" if agent in found.away else "  (its node does not say so yet)"
        put_line(f"{agent}  {state}{'' if agent in found.obeys else seen}")
    return 0
