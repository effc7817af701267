"""What a role must not do, as OpenClaw's tool policy: `agents.entries.<id>.tools` from souls/<role>/policy.toml.

In each scope OpenClaw takes either `allow` or `alsoAllow`; what an `allow` does not name is hidden, and deny wins
(docs/gateway/config-tools/tool-policy). So a closed list must name this plugin, or its agent loses the bus.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from clawbus.assets import folder
from clawbus.errors import Missing
from clawbus.gateway.visibility import PLUGIN
from clawbus.souls import COMMON, role_file

_FILE = "policy.toml"


def policy(role: str) -> dict[str, Any]:
    """The tool policy of a role such as `role-ceo`: what all roles share, joined by what the role's own file says.

    A role without a file of its own gets what all share. Raises Missing if the installation lacks the files.
    """
    shared = _read(folder("souls") / COMMON / _FILE)
    path = role_file(role, _FILE)
    own = _read(path) if path else {}
    own.pop("delegates", None)  # what others may use for it: ours to enforce (`rights`)
    made = {**own, "deny": [*shared["deny"], *own.get("deny", ())]}
    if "allow" in own:
        made["allow"] = [*own["allow"], PLUGIN]
    return made


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise Missing(f"{path} cannot be read: {error}", "Install clawbus again.") from None
