"""The preview of `clawbus apply`: its steps, the changes in workspaces and gateways, and the backlog to deal with."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clawbus.bus import Bus
from clawbus.client.company import Company
from clawbus.gateway.setup import managed_gateway as own
from clawbus.gateway.setup.souls import differences, render
from clawbus.ops.apply.apply import steps
from clawbus.ops.apply.backlog import backlog

_SECRET = re.compile(r'((?:token|key|secret|password|auth)"\s*:\s*)"(?:[^"\\]|\\.)*"', re.IGNORECASE)
_NOT_SHOWN = "(not shown)"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that would be another. `detail`: a diff, or a sentence."""

    area: str
    """key, account, bus, directory, workspace, gateway or backlog."""
    name: str
    what: str
    """new, changed, removed; of a file that you have changed: differs; of a backlog: waits."""
    detail: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


async def plan(company: Company, bus: Bus | None, scripted_url: str | None) -> list[Change]:
    """All of it; without a bus what is in files only. Raises BusAway, Refused, InvalidInput. Changes nothing."""
    found = [Change(step.area, step.name, step.what, step.detail) for step in await steps(company, bus)]
    found += [*_gateways(company, scripted_url), *_workspaces(company)]
    if bus is None:
        return found
    waiting = Counter[str]()
    for left in await backlog(bus, company.org):
        waiting[left.name] += left.count
    detail = "to be moved with --move, or put down as dead letters"
    return found + [Change("backlog", name, "waits", f"{count} messages, {detail}") for name, count in waiting.items()]


def _gateways(company: Company, scripted_url: str | None) -> Iterator[Change]:
    """The settings of our own gateways. A gateway whose settings change reads them again by itself."""
    home = company.home
    for gateway in company.gateways_here:
        config = home.root / "gateways" / gateway.id / "openclaw.json"
        if not gateway.is_ours:
            continue
        if not config.exists():
            yield Change("gateway", gateway.id, "new")
            continue
        mine, plugin = own.locate(home, company.org, gateway.id), home.root / "plugin" / own.PLUGIN
        text = own.settings_text(mine, home, company.org, plugin, scripted_url)
        if (present := config.read_text("utf-8")) != text:
            yield Change("gateway", gateway.id, "changed", _diff(config, present, text))
    ours = {gateway.id for gateway in company.gateways_here if gateway.is_ours}
    for path in sorted((home.root / "gateways").glob("*/openclaw.json")):
        if path.parent.name not in ours:
            yield Change("gateway", path.parent.name, "removed", f"it is ended; {path.parent} stays")


def _workspaces(company: Company) -> Iterator[Change]:
    """The soul files of agents in gateways of our own."""
    for gateway in company.gateways_here:
        for agent in company.org.agents_of(gateway.id) if gateway.is_ours else ():
            folder = company.home.root / "gateways" / gateway.id / "workspaces" / agent.id
            files = render(agent, company.org)
            yours = differences(folder, files)
            for name, diff in yours.items():
                yield Change("workspace", f"{agent.id}/{name}", "differs", diff)
            for name, text in files.items():
                if not (folder / name).exists():
                    yield Change("workspace", f"{agent.id}/{name}", "new")
                elif name not in yours and (folder / name).read_text("utf-8", errors="replace") != text:
                    yield Change("workspace", f"{agent.id}/{name}", "changed", "it follows org.toml")


def _diff(path: Path, present: str, text: str) -> str:
    """The gateway's token stands in the file, and keys that its user may have put there, under whatever name."""
    try:
        ours = json.loads(text)
        shown = json.dumps(_shown(json.loads(present), ours), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return f"{path} is no plain JSON any more: all of it would be written anew"
    old, new = (
        _SECRET.sub(rf'\1"{_NOT_SHOWN}"', settings).splitlines()
        for settings in (shown, json.dumps(ours, indent=2, ensure_ascii=False))
    )
    lines = difflib.unified_diff(old, new, str(path), f"{path} (new)", n=1, lineterm="")
    return "\n".join(lines) or "the same settings, written otherwise"


def _shown(present: Any, ours: Any) -> Any:
    """Settings as they may be shown: a value where clawbus has one of its own, too; of all others that they are set."""
    if isinstance(present, dict):
        mine = ours if isinstance(ours, dict) else {}
        return {name: _shown(value, mine.get(name)) for name, value in present.items()}
    if isinstance(present, list):
        alike = ours if isinstance(ours, list) and ours else [None]
        return [_shown(value, alike[min(at, len(alike) - 1)]) for at, value in enumerate(present)]
    is_ours = ours is not None and not isinstance(ours, dict | list)
    return present if is_ours or isinstance(present, bool | None) else _NOT_SHOWN
