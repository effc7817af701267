"""`clawbus check`: reads org.toml, says every mistake at once, or what the company is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from clawbus.cli.options import json_option, org_option
from clawbus.cli.output import print_json, put_text
from clawbus.errors import InvalidInput
from clawbus.gateway.setup.souls import render
from clawbus.org import Gateway, Org, OrgMistakes, load
from clawbus.org.mistakes import Mistake
from clawbus.org.notes import notes

FREE = " (the demo's own: no model is called)"


@click.command()
@org_option
@json_option
def check_command(org_file: Path, as_json: bool) -> int:
    """Check org.toml whole: each mistake with its line, its field and the remedy. Exit code 2 if there is one.

    Nothing is started, written or sent.
    """
    try:
        org = load(org_file)
        _refuse_long_souls(org, org_file)
    except OrgMistakes as wrong:
        if not as_json:
            raise
        print_json({"ok": False, "mistakes": [mistake.as_json() for mistake in wrong.mistakes]})
        return wrong.exit_code
    remarks = [*notes(org), *_roles(org)]
    if as_json:
        print_json({"ok": True, **_facts(org), "notes": remarks})
    else:
        put_text("\n".join([f"{org_file} is right.", *_summary(org), *(f"Note: {remark}." for remark in remarks)]))
    return 0


def _refuse_long_souls(org: Org, org_file: Path) -> None:
    """Raises OrgMistakes if what org.toml says of an agent makes a file that OpenClaw would not read whole."""
    found = []
    for agent in (agent for gateway in org.gateways if not gateway.is_program for agent in org.agents_of(gateway.id)):
        try:
            render(agent, org)
        except InvalidInput as error:
            where, remedy = f"agents[{agent.id}]", "Say less of it, or of the company, in org.toml."
            found.append(Mistake(None, where, None, f"its {error.message}", remedy))
    if found:
        raise OrgMistakes(org_file, found)


def _facts(org: Org) -> dict[str, Any]:
    return {
        "company": org.company,
        "url": org.url,
        "agents": [
            {"id": one.id, "role": one.role, "team": one.team, "gateway": one.gateway, "model": org.model_of(one)}
            for one in org.agents
        ],
        "teams": {team: org.members(team) for team in org.team_ids},
        "pools": {pool.id: pool.members for pool in org.pools},
        "gateways": [gateway.id for gateway in org.gateways],
        "humans": [human.id for human in org.humans],
    }


def _summary(org: Org) -> Iterator[str]:
    yield f"company   {org.company}, on {org.url}"
    yield f"agents    {len(org.agents)}: {', '.join(agent.id for agent in org.agents)}"
    groups = [f"{team} ({len(org.members(team))})" for team in org.team_ids]
    yield f"teams     {', '.join(groups)}"
    if org.pools:
        yield f"pools     {', '.join(f'{pool.id} ({len(pool.members)})' for pool in org.pools)}"
    for gateway in org.gateways:
        yield f"gateway   {gateway.id}, {_kind(gateway)}: {', '.join(agent.id for agent in org.agents_of(gateway.id))}"
    yield f"people    {', '.join(human.id for human in org.humans)}"
    claws = {gateway.id for gateway in org.gateways if not gateway.is_program}
    models = sorted({org.model_of(agent) for agent in org.agents if agent.gateway in claws})
    named = ", ".join(model + FREE * (model == "scripted") for model in models)
    yield f"model     {named or 'none: programs do the tasks'}"


def _kind(gateway: Gateway) -> str:
    if gateway.is_program:
        return "a Python program on another machine" if gateway.elsewhere else "a Python program"
    where = ", on another machine" if gateway.elsewhere else ""
    return f"{'run by clawbus' if gateway.own else 'yours'}, port {gateway.port}{where}"


def _roles(org: Org) -> Iterator[str]:
    for role in sorted({agent.role for agent in org.agents} & set(org.roles)):
        yield f"{role} is a role of your own: its agents get the neutral soul, and no tool policy beyond what all share"
