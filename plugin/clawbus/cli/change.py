"""`clawbus plan` and `clawbus apply`: a changed org.toml, shown and taken in, while the company runs."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path

import click

from clawbus.bus import Bus
from clawbus.cli.options import json_option, org_option, run_async
from clawbus.cli.output import print_json, put_line, put_text
from clawbus.client.company import Company
from clawbus.errors import Away, BusAway, BusFull, InvalidInput, NotFound
from clawbus.ops.apply import Change, apply_bus, plan
from clawbus.ops.apply.apply import check_moves, settle_late
from clawbus.ops.apply.backlog import backlog
from clawbus.ops.apply.rekey import forget, restart_holders
from clawbus.ops.supervisor.pid_files import holder
from clawbus.ops.up import ask_up, planned_model_url
from clawbus.org.mistakes import near
from clawbus.provision.permissions import PROVISIONER

_AREAS = {
    "key": "keys",
    "account": "accounts",
    "bus": "bus",
    "directory": "directory",
    "gateway": "gateways",
    "workspace": "workspaces",
    "backlog": "backlog",
}
_YOURS = "as you have it, and stays so; `clawbus apply --force-souls` replaces it"


@click.command()
@org_option
@click.option("--diff", "with_diff", is_flag=True, help="Show what changes within files, too.")
@json_option
@run_async
async def plan_command(org_file: Path, with_diff: bool, as_json: bool) -> int:
    """Show what `clawbus apply` would change: keys, bus, gateways, workspaces, and backlog. Changes nothing."""
    company = Company.open(org_file)
    company.refuse_elsewhere("changes are made")
    async with _provisioner(company) as bus:
        changes = await plan(company, bus, planned_model_url(company))
    if as_json:
        print_json({"bus": bus is not None, "changes": [change.as_json() for change in changes]})
        return 0
    if bus is None:
        put_line(f"The bus at {company.org.url} does not answer: what would change on it is not known.")
    put_text("\n".join(_lines(changes, with_diff)) or "Nothing would change.")
    return 0


@click.command()
@org_option
@click.option("--move", "moves", multiple=True, metavar="OLD=NEW", help="Who takes over the backlog of who has left.")
@click.option("--force-souls", is_flag=True, help="Replace SOUL.md and AGENTS.md that you have changed.")
@click.option(
    "--new-key", "stolen", multiple=True, metavar="KEY", help="Make a stolen key anew: gw-ID, me-ID, steward."
)
@run_async
async def apply_command(org_file: Path, moves: tuple[str, ...], force_souls: bool, stolen: tuple[str, ...]) -> int:
    """Take a changed org.toml into the running company. Who is not concerned is not disturbed.

    What waits for an agent that has left is given to the NEW of --move, or becomes dead letters with the reason. The
    KEY of --new-key (gw-ID, me-ID, steward) opens nothing from then on; a gateway's goes with its agents' own.
    """
    company = Company.open(org_file)
    company.refuse_elsewhere("changes are made")
    heirs = _heirs(moves)
    check_moves(company.org, heirs)
    async with _provisioner(company) as bus:
        if bus is None:
            raise _nobody_there(company)
        _check_names(heirs, {left.name for left in await backlog(bus, company.org)})
    forget(company, stolen)
    await apply_bus(company, heirs, put_text)
    answer = await ask_up(company.home, force_souls)
    if answer is None:
        put_line("the bus is as org.toml says; no `clawbus up` runs here, so nodes must be restarted by hand")
    else:
        put_text("\n".join([*answer, "done"]))
    await settle_late(company, heirs, put_text)
    if stolen:
        put_line(
            f"new keys: {', '.join(stolen)}; restarted: {', '.join(restart_holders(company.home, stolen)) or 'nothing'}"
        )
    return 0


def _nobody_there(company: Company) -> Away:
    remedy = "Run `clawbus up`: it applies what is there."
    if holder(company.home.dir("run")) is not None:
        remedy = "`clawbus up` runs: it is still starting, or [bus] has changed: then end it and start it again."
    return BusAway(f"no nats-server answers at {company.org.url}", remedy)


@contextlib.asynccontextmanager
async def _provisioner(company: Company) -> AsyncIterator[Bus | None]:
    """A connection that may do everything; None if no server answers, or there was never one. Raises BusFull."""
    async with contextlib.AsyncExitStack() as stack:
        bus = None
        if company.home.key(PROVISIONER).exists():
            try:
                bus = await stack.enter_async_context(company.connect(PROVISIONER))
            except BusFull:
                raise
            except Away:
                pass
        yield bus


def _check_names(heirs: Mapping[str, str], left: set[str]) -> None:
    """A misspelt OLD would leave the backlog that it is meant for to become dead letters. Raises NotFound."""
    for old in heirs.keys() - left:
        if left - heirs.keys():
            raise NotFound(f"--move = {old!r}: nothing waits for anybody of that name", near(old, left))
        put_line(f"nothing waits for {old}")


def _heirs(moves: Iterable[str]) -> Mapping[str, str]:
    heirs = {}
    for move in moves:
        old, equals, new = move.partition("=")
        if not (old and equals and new):
            raise InvalidInput("--move", move, "not OLD=NEW", "Such as --move backend-1=backend-2.")
        heirs[old] = new
    return heirs


def _lines(changes: Iterable[Change], with_diff: bool) -> list[str]:
    lines = []
    for area, title in _AREAS.items():
        for change in (change for change in changes if change.area == area):
            text = _YOURS if change.what == "differs" else change.detail if "\n" not in change.detail else ""
            sentence = f": {text}" if text else ""
            lines.append(f"{title:<11} {change.what:<8} {change.name}{sentence}")
            if with_diff and "\n" in change.detail:
                lines += [f"    {line}" for line in change.detail.splitlines()]
    return lines
