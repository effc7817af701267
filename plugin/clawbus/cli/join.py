"""`clawbus join`: the plugin, its skills and its settings into a gateway that the user already has."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clawbus.cli.options import json_option, org_option, run_async
from clawbus.cli.output import print_json, put_text
from clawbus.errors import InvalidInput, NotFound, Refused
from clawbus.settings import cache_dir, user_environment

if TYPE_CHECKING:
    from clawbus.client.company import Company
    from clawbus.gateway.setup.join import Join, JoinPlan

_PATH = click.Path(path_type=Path)


@dataclass(frozen=True)
class Wanted:
    """The options of one call."""

    code: str | None
    gateway: str | None
    org_file: Path
    config: Path | None
    state: Path | None
    socket: Path | None
    yes: bool
    undo: bool
    as_json: bool


@click.command()
@click.argument("code", required=False)
@click.option(
    "--gateway", metavar="ID", help="Which gateway of the org file this is. [default: the only one not its own]"
)
@click.option("--config", type=_PATH, metavar="FILE", help="Its openclaw.json. [default: what openclaw itself uses]")
@click.option("--state", type=_PATH, metavar="DIR", help="Its state folder. [default: what openclaw itself uses]")
@click.option("--socket", type=_PATH, metavar="PATH", help="Its node's socket. [default: as the org file says]")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--undo", is_flag=True, help="Take back what join did. What you changed since stays.")
@org_option
@json_option
@run_async
async def join_command(**options: Any) -> int:
    """Put the clawbus plugin and its skills into an OpenClaw gateway that you already have.

    With the CODE that `clawbus invite` has printed on the company's own machine, in an empty folder, this machine
    comes into the company first; `-` reads it from standard input. Shows what it will change and asks; keeps a backup
    of openclaw.json beside it. Works with the gateway running or not. With --json and without --yes it only shows. A
    gateway that org.toml calls its own needs no join.
    """
    wanted = Wanted(**options)
    if wanted.code is not None and (wanted := await _enter(wanted)).gateway is None:
        return 0
    if wanted.undo:
        return await _undo(await _joining(wanted), wanted)
    socket, notes = _node(wanted)
    joining = await _joining(wanted)
    plan = await joining.plan(socket)
    plan = replace(plan, notes=(*plan.notes, *notes))
    if not wanted.as_json:
        put_text("\n".join([f"{joining.config}:", *plan.lines()]))
    if plan.empty:
        return _report(wanted, _facts(plan) | {"applied": False}, [])
    if not _agreed(wanted, "Change this?"):
        return _report(wanted, _facts(plan) | {"applied": False}, ["Nothing was changed."])
    backup, said = await joining.apply(plan)
    return _report(
        wanted,
        _facts(plan) | {"applied": True, "backup": str(backup)},
        [f"Done. OpenClaw says: {said}", f"Backup: {backup}", "To take it back: the same command with --undo."],
    )


async def _enter(wanted: Wanted) -> Wanted:
    """Spend the code. The result names the one gateway that is left to join, or None if there are none or several."""
    from clawbus.client.company import Company
    from clawbus.ops.enrol.invite_code import parse
    from clawbus.ops.enrol.join_client import enter

    code = sys.stdin.readline() if wanted.code == "-" else str(wanted.code)
    await enter(parse(code), wanted.org_file)
    company = Company.open(wanted.org_file)
    steps, theirs = _next_steps(company), _theirs(company)
    if wanted.as_json:
        here = [gateway.id for gateway in company.gateways_here]
        print_json({"company": company.org.company, "gateways": here, "url": company.url, "next": steps})
        return replace(wanted, gateway=None)
    put_text(_joined(company))
    put_text("\n".join(["Next:", *(f"  {step}" for step in steps)]))
    return replace(wanted, gateway=theirs[0] if len(theirs) == 1 else None)


def _joined(company: Company) -> str:
    """The line that says which agents this machine now has."""
    agents = [agent.id for gateway in company.gateways_here for agent in company.org.agents_of(gateway.id)]
    return f"This machine is the home of {', '.join(agents)} now, in {company.org.company} on {company.url}."


def _theirs(company: Company) -> list[str]:
    """The OpenClaw gateways of this machine into which the plugin has yet to come."""
    return [gateway.id for gateway in company.gateways_here if not gateway.own and not gateway.is_program]


def _next_steps(company: Company) -> list[str]:
    """The commands to run next, in order."""
    steps = [f"clawbus join --gateway {gateway}" for gateway in _theirs(company)]
    if any(not gateway.is_program for gateway in company.gateways_here):
        steps.append("clawbus up")
    programs = [gateway.id for gateway in company.gateways_here if gateway.is_program]
    return steps + [f"your program, which serves {gateway} (docs/python.md)" for gateway in programs]


async def _joining(wanted: Wanted) -> Join:
    from clawbus.gateway.setup import installation as openclaw
    from clawbus.gateway.setup.command import Command
    from clawbus.gateway.setup.join import Join
    from clawbus.gateway.setup.plugin_bundle import assemble

    found = await openclaw.find(install=False, say=lambda line: put_text(line, err=True))
    more = {
        name: str(path.expanduser().resolve())
        for name, path in (("OPENCLAW_CONFIG_PATH", wanted.config), ("OPENCLAW_STATE_DIR", wanted.state))
        if path is not None
    }
    command = Command(found.argv(), user_environment(**more))
    folder = assemble(cache_dir() / "plugin" / "clawbus")
    return Join(command, await command.config_file(), folder)


def _node(wanted: Wanted) -> tuple[Path, list[str]]:
    """The socket that the shim will call, and what to know of the agents' roles.

    As --socket says, and then nothing is known of them; else as the org file says.
    """
    from clawbus.client.company import Company
    from clawbus.gateway.setup import claw_package as claw

    if wanted.socket is not None:
        return wanted.socket.expanduser().absolute(), []
    opened = Company.open(wanted.org_file)
    company = opened.org
    others = [gateway for gateway in opened.gateways_here if not gateway.own and not gateway.is_program]
    if wanted.gateway is None and len(others) != 1:
        known = ", ".join(gateway.id for gateway in others) or "none; those of `own = true` are set up by clawbus up"
        raise InvalidInput("--gateway", None, "missing", f"Say which. In {wanted.org_file} there are: {known}.")
    gateway = company.gateway(wanted.gateway) if wanted.gateway else others[0]
    if gateway.own:
        remedy = "`clawbus up` writes its settings. To join one of yours, set `own = false` there."
        raise Refused(f"gateway {gateway.id} is the company's own in {wanted.org_file}", remedy)
    return opened.home.socket(gateway.id), claw.offer(opened.home, company, gateway.id)


async def _undo(joining: Join, wanted: Wanted) -> int:
    from clawbus.gateway.setup.config_file import diff
    from clawbus.gateway.setup.join_record import ConfigChange, read_record

    record = read_record(joining.config)
    if record is None:
        raise NotFound(f"clawbus has not joined the gateway of {joining.config}", "Name another with --config FILE.")
    if not wanted.as_json:
        back = [ConfigChange(path=change.path, before=change.after, after=change.before) for change in record.changes]
        plugin = ["- the plugin clawbus"] * record.installed
        put_text(
            "\n".join([f"{joining.config}, where you have not changed it since:", *diff(joining.config, back), *plugin])
        )
    if not _agreed(wanted, "Take this back?"):
        return _report(wanted, {"undone": False}, ["Nothing was changed."])
    lines = await joining.undo()
    backups = [str(joining.config.with_name(name)) for name in record.backups]
    return _report(
        wanted,
        {"undone": True, "diff": lines, "backups": backups},
        ["Done. These backups are yours to keep or remove:", *backups],
    )


def _agreed(wanted: Wanted, question: str) -> bool:
    if wanted.yes or wanted.as_json:
        return wanted.yes
    if not sys.stdin.isatty():
        raise InvalidInput("--yes", None, "missing, and nobody is here to ask", "Add --yes to do what is shown above.")
    return click.confirm(question)


def _facts(plan: JoinPlan) -> dict[str, Any]:
    return {
        "config": str(plan.config),
        "install": plan.install,
        "changes": [change.model_dump() for change in plan.changes],
        "notes": list(plan.notes),
    }


def _report(wanted: Wanted, data: dict[str, Any], lines: list[str]) -> int:
    if wanted.as_json:
        print_json(data)
    elif lines:
        put_text("\n".join(lines))
    return 0
