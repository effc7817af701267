"""`clawbus join`: the plugin, its skills and its settings into a gateway that the user already has."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from clawbus import org
from clawbus.cli.options import json_option, org_option, print_json, run_async
from clawbus.errors import InvalidInput, NotFound, Refused
from clawbus.gateway import claw, openclaw
from clawbus.gateway.authored import diff
from clawbus.gateway.command import Command
from clawbus.gateway.joined import Change, read_record
from clawbus.gateway.joining import Joining, Plan
from clawbus.gateway.plugin import assemble
from clawbus.settings import Home, cache_dir, user_environment

_PATH = click.Path(path_type=Path)


@dataclass(frozen=True)
class Wanted:
    """The options of one call."""

    gateway: str | None
    org_file: Path
    config: Path | None
    state: Path | None
    socket: Path | None
    yes: bool
    undo: bool
    as_json: bool


@click.command()
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

    Shows what it will change and asks; keeps a backup of openclaw.json beside it. Works with the gateway running
    or not. With --json and without --yes it only shows. A gateway that org.toml calls its own needs no join.
    """
    wanted = Wanted(**options)
    if wanted.undo:
        return await _undo(await _joining(wanted), wanted)
    socket, notes = _node(wanted)
    joining = await _joining(wanted)
    plan = await joining.plan(socket)
    plan = replace(plan, notes=(*plan.notes, *notes))
    if not wanted.as_json:
        click.echo("\n".join([f"{joining.config}:", *plan.lines()]))
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


join = join_command


async def _joining(wanted: Wanted) -> Joining:
    found = await openclaw.find(install=False, say=lambda line: click.echo(line, err=True))
    more = {
        name: str(path.expanduser().resolve())
        for name, path in (("OPENCLAW_CONFIG_PATH", wanted.config), ("OPENCLAW_STATE_DIR", wanted.state))
        if path is not None
    }
    command = Command(found.argv(), user_environment(**more))
    folder = assemble(cache_dir() / "plugin" / "clawbus")
    return Joining(command, await command.config_file(), folder)


def _node(wanted: Wanted) -> tuple[Path, list[str]]:
    """The socket that the shim will call, and what to know of the agents' roles.

    As --socket says, and then nothing is known of them; else as the org file says.
    """
    if wanted.socket is not None:
        return wanted.socket.expanduser().absolute(), []
    company = org.load(wanted.org_file)
    others = [gateway for gateway in company.gateways if not gateway.own]
    if wanted.gateway is None and len(others) != 1:
        known = ", ".join(gateway.id for gateway in others) or "none; those of `own = true` are set up by clawbus up"
        raise InvalidInput("--gateway", None, "missing", f"Say which. In {wanted.org_file} there are: {known}.")
    gateway = company.gateway(wanted.gateway) if wanted.gateway else others[0]
    if gateway.own:
        remedy = "`clawbus up` writes its settings. To join one of yours, set `own = false` there."
        raise Refused(f"gateway {gateway.id} is the company's own in {wanted.org_file}", remedy)
    home = Home.beside(wanted.org_file)
    return home.socket(gateway.id), claw.offer(home, company, gateway.id)


async def _undo(joining: Joining, wanted: Wanted) -> int:
    record = read_record(joining.config)
    if record is None:
        raise NotFound(f"clawbus has not joined the gateway of {joining.config}", "Name another with --config FILE.")
    if not wanted.as_json:
        back = [Change(path=one.path, before=one.after, after=one.before) for one in record.changes]
        plugin = ["- the plugin clawbus"] * record.installed
        click.echo(
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


def _facts(plan: Plan) -> dict[str, Any]:
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
        click.echo("\n".join(lines))
    return 0
