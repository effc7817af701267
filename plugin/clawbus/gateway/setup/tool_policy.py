"""What a role must not do, as OpenClaw's tool policy: `agents.entries.<id>.tools` from souls/<role>/policy.toml.

In each scope OpenClaw takes either `allow` or `alsoAllow`; what an `allow` does not name is hidden, and deny wins
(docs/gateway/config-tools/tool-policy). So a closed list must name this plugin, or its agent loses the bus.
Who runs no commands reads no files but those of its workspace, either: the company's keys lie outside.
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
    """The tool policy of a role such as `role-ceo`: what all roles share, joined by what the role's own file says.

    A role without a file of its own gets what all share; one that may run no commands is kept in its workspace.
    Raises Missing if the installation lacks the files.
    """
    shared = _read(asset_folder("souls") / COMMON / _FILE)
    path = role_file(role, _FILE)
    own = _read(path) if path else {}
    own.pop("delegates", None)  # what others may use for it: ours to enforce (`rights`)
    made = {**own, "deny": [*shared["deny"], *own.get("deny", ())]}
    if "allow" in own:
        made["allow"] = [*own["allow"], PLUGIN]
    if not _names_commands(made.get("allow", ["*"])) or _names_commands(made["deny"]):
        made["fs"] = {**own.get("fs", {}), "workspaceOnly": True}
    return made


def _names_commands(patterns: Iterable[str]) -> bool:
    """Whether a list lets commands run, or forbids them; its patterns are OpenClaw's, in which case does not matter."""
    return any(fnmatch(name, pattern.lower()) for pattern in patterns for name in _COMMANDS)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise Missing(f"{path} cannot be read: {error}", "Install clawbus again.") from None
