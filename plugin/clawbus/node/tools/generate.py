"""Writes what follows from the tools' models: `python -m clawbus.node.tools.generate`, and `--check` for CI.

plugin/openclaw/tools.json (what the shim registers), openclaw.plugin.json (what OpenClaw reads without
running the shim), package.json, and docs/tools.md. Nobody edits these by hand.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from clawbus import __version__
from clawbus.gateway.setup.installation import PINNED
from clawbus.node.tools.params import TOOLS, Tool
from clawbus.node.tools.schema import in_words
from clawbus.wire.envelope import MAX_BODY_BYTES

ROOT = Path(__file__).resolve().parents[4]
"""The repository: this runs in a clone only."""

OPENCLAW_FLOOR = f">={PINNED}"
"""The OpenClaw that the shim is tested with. Its plugin API is experimental: nothing older is claimed."""

_READ_ONLY = ("nats_org",)
_COMMAND = "python -m clawbus.node.tools.generate"
_INTRODUCTION = f"""\
Generated from `plugin/clawbus/node/tools/params.py` by `{_COMMAND}`, not edited by hand.
The descriptions are what the model reads. Beyond the schemas the node checks that an agent id is 1 to 32 of
`a-z`, `0-9` and `-` with a letter or digit at both ends, that a task id has 26 characters, and that a message
or a task is not empty, does not begin with `/` and has at most {MAX_BODY_BYTES} bytes."""
_DESCRIPTION = "Puts this gateway's agents on the company's NATS JetStream bus"


def manifest() -> dict[str, Any]:
    """openclaw.plugin.json (OpenClaw docs/plugins/manifest.md)."""
    return {
        "id": "clawbus",
        "name": "clawbus",
        "description": _DESCRIPTION,
        "version": __version__,
        "activation": {"onStartup": True},
        "contracts": {"tools": [tool.name for tool in TOOLS]},
        # Under tools.profile "coding" a plugin's tools are hidden unless this names the profile.
        "toolMetadata": {tool.name: _metadata(tool) for tool in TOOLS},
        "skills": ["./skills"],
        "configSchema": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "socket": {
                    "type": "string",
                    "description": "Path of the Unix socket of this gateway's clawbus node",
                }
            },
            "required": ["socket"],
        },
    }


def package() -> dict[str, Any]:
    """package.json: where the code is, and which OpenClaw it needs."""
    return {
        "name": "clawbus",
        "version": __version__,
        "description": _DESCRIPTION,
        "license": "MIT",
        "private": True,
        "type": "module",
        "openclaw": {
            "extensions": ["./index.js"],
            "install": {"minHostVersion": OPENCLAW_FLOOR},
            "compat": {"pluginApi": OPENCLAW_FLOOR},
        },
    }


def tool_list() -> list[dict[str, Any]]:
    """tools.json: what the shim registers."""
    return [{"name": tool.name, "description": tool.description, "parameters": tool.schema()} for tool in TOOLS]


def documentation() -> str:
    """docs/tools.md."""
    parts = ["# The tools", _INTRODUCTION]
    for tool in TOOLS:
        parts += [f"## {tool.name}", tool.description, _table(tool)]
    return "\n\n".join(parts) + "\n"


def files() -> dict[Path, str]:
    """Every generated file, by its place below the repository, with what it must hold."""
    return {
        Path("plugin/openclaw/tools.json"): _json(tool_list()),
        Path("plugin/openclaw/openclaw.plugin.json"): _json(manifest()),
        Path("plugin/openclaw/package.json"): _json(package()),
        Path("docs/tools.md"): documentation(),
    }


def drifted(root: Path) -> list[Path]:
    """The generated files below `root` that do not hold what they must."""
    return [path for path, text in files().items() if _read(root / path) != text]


def main(arguments: list[str]) -> int:
    """`--check` compares and returns 1 if a file drifted; without it the files are written."""
    if arguments == ["--check"]:
        stale = drifted(ROOT)
        for path in stale:
            print(f"{path}: differs from the models. Run: {_COMMAND}", file=sys.stderr)
        return 1 if stale else 0
    if arguments:
        print(f"usage: {_COMMAND} [--check]", file=sys.stderr)
        return 2
    for path, text in files().items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text, "utf-8")
    return 0


def _metadata(tool: Tool) -> dict[str, Any]:
    effect = {"replaySafe": True} if tool.name in _READ_ONLY else {"sideEffecting": True}
    return {"profiles": ["coding", "messaging", "full"], **effect}


def _table(tool: Tool) -> str:
    schema = tool.schema()
    rows = ["| parameter | takes | if left out | |", "| --- | --- | --- | --- |"]
    for name, field in schema["properties"].items():
        missing = "required" if name in schema.get("required", ()) else f"{field.get('default', '')}"
        rows.append(f"| `{name}` | {in_words(field)} | {missing} | {field.get('description', '')} |")
    return "\n".join(rows)


def _json(data: object) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def _read(path: Path) -> str | None:
    return path.read_text("utf-8") if path.is_file() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
