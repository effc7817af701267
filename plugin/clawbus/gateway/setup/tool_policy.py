"""A role's tool policy: `agents.entries.<id>.tools` of OpenClaw, from souls/<role>/policy.toml.

In each scope OpenClaw takes either `allow` or `alsoAllow`. It hides a tool that an `allow` does not name, and `deny`
wins (docs/gateway/config-tools/tool-policy).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from clawbus.errors import Missing
from clawbus.gateway.setup.plugin_visibility import PLUGIN
from clawbus.gateway.setup.souls import COMMON, role_file
from clawbus.settings import asset_folder

_FILE = "policy.toml"
_COMMANDS = ("exec", "bash", "group:runtime")
"""OpenClaw's tool that runs commands, its other name, and its group."""


def policy(role: str) -> dict[str, Any]:
    """The tool policy of a role such as `role-ceo`: the common one, joined by the role's own file if there is one.

    Raises Missing if the installation lacks the files.
    """
    shared = _read(asset_folder("souls") / COMMON / _FILE)
    path = role_file(role, _FILE)
    own = _read(path) if path else {}
    own.pop("delegates", None)  # not OpenClaw's: the tools of those who work for it (`org/tool_bounds`)
    made = {**own, "deny": [*shared["deny"], *own.get("deny", ())]}
    if "allow" in own:  # a closed list must name this plugin, or its agent loses the bus
        made["allow"] = [*own["allow"], PLUGIN]
    # Without commands it reads only files of its workspace: the company's keys lie outside.
    if not _names_commands(made.get("allow", ["*"])) or _names_commands(made["deny"]):
        made["fs"] = {**own.get("fs", {}), "workspaceOnly": True}
    return made


def _names_commands(patterns: Iterable[str]) -> bool:
    """True if a list has a tool that runs commands. Its patterns are OpenClaw's: their case does not matter."""
    return any(fnmatch(name, pattern.lower()) for pattern in patterns for name in _COMMANDS)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise Missing(f"{path} cannot be read: {error}", "Install clawbus again.") from None
