"""What `clawbus join CODE` does before it is the same as any other join: the machine comes into the company."""

from __future__ import annotations

from pathlib import Path

from clawbus.client.company import Company
from clawbus.ops.enrol.invite_code import parse
from clawbus.ops.enrol.join_client import enter


async def spend(line: str, org_file: Path) -> Company:
    """Spend a code, and return the company as this machine now has it. Raises InvalidInput, Refused, Away."""
    code = parse(line)
    await enter(code, org_file)
    return Company.open(org_file)


def joined(company: Company) -> str:
    """What has come of it, in a line."""
    agents = [agent.id for gateway in company.gateways_here for agent in company.org.agents_of(gateway.id)]
    return f"This machine is the home of {', '.join(agents)} now, in {company.org.company} on {company.url}."


def theirs(company: Company) -> list[str]:
    """The OpenClaw gateways of this machine into which the plugin has yet to come."""
    return [one.id for one in company.gateways_here if not one.own and not one.is_program]


def next_steps(company: Company) -> list[str]:
    """What to run next, in order."""
    steps = [f"clawbus join --gateway {gateway}" for gateway in theirs(company)]
    if any(not one.is_program for one in company.gateways_here):
        steps.append("clawbus up")
    programs = [one.id for one in company.gateways_here if one.is_program]
    return steps + [f"your program, which serves {gateway} (docs/python.md)" for gateway in programs]
