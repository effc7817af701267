"""openclaw.json as its author sees it: dotted paths, the parents of a setting, a change as a diff."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from clawbus.gateway.setup.join_record import ConfigChange


def read_plain(config: Path) -> dict[str, Any] | None:
    """The object of the file; None if only OpenClaw can read it: it is JSON5, or has parts in other files."""
    try:
        text = config.read_text("utf-8")
        data = json.loads(text)
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) and '"$include"' not in text else None


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """`{"tools.allow": x}` as `{"tools": {"allow": x}}`."""
    tree: dict[str, Any] = {}
    for path, value in values.items():
        *parents, name = path.split(".")
        here = tree
        for parent in parents:
            here = here.setdefault(parent, {})
        here[name] = value
    return tree


def at(data: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path; None if there is none."""
    here: Any = data
    for step in path.split("."):
        here = here.get(step) if isinstance(here, Mapping) else None
    return here


def missing_parents(data: Mapping[str, Any], paths: Iterable[str]) -> tuple[str, ...]:
    """The objects above `paths` that are missing, the outermost first."""
    found: dict[str, None] = {}
    for path in paths:
        steps = path.split(".")
        parents = (".".join(steps[:length]) for length in range(1, len(steps)))
        found |= {parent: None for parent in parents if at(data, parent) is None}
    return tuple(found)


def empty_among(data: Mapping[str, Any], paths: Iterable[str]) -> tuple[str, ...]:
    """Those of `paths` that hold nothing but empty objects among `paths`; of nested ones the outermost."""
    wanted = set(paths)

    def hollow(path: str) -> bool:
        value = at(data, path)
        return path in wanted and isinstance(value, dict) and all(hollow(f"{path}.{key}") for key in value)

    empty = [path for path in wanted if hollow(path)]
    return tuple(sorted(path for path in empty if not any(path.startswith(f"{other}.") for other in empty)))


def diff(config: Path, changes: Iterable[ConfigChange]) -> list[str]:
    """The changes as the lines of a unified diff of the settings that they touch."""
    changes = tuple(changes)
    before = {change.path: change.before for change in changes if change.before is not None}
    after = {change.path: change.after for change in changes if change.after is not None}
    lines = difflib.unified_diff(_lines(before), _lines(after), str(config), f"{config} (new)", n=9, lineterm="")
    return list(lines)


def _lines(values: Mapping[str, Any]) -> list[str]:
    return json.dumps(nested(values), indent=2, ensure_ascii=False).splitlines()
