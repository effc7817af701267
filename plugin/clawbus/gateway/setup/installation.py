"""OpenClaw on this machine: the user's own if its version fits, else one in the cache folder.

Its plugin interfaces are experimental, so clawbus says which releases it was tried with. The lookup reads
package.json and never runs the program: `openclaw --version` takes a second.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clawbus.errors import Missing
from clawbus.gateway.setup.install import install_openclaw
from clawbus.gateway.setup.nodejs import find_node
from clawbus.settings import OPENCLAW_VAR, cache_dir, variable

PINNED = "2026.9.6"
"""The release that clawbus is tested with, and the one that it installs."""
_RULE = "2026.9.6 or newer of 2026.9"
# pnpm's and volta's programs are shell scripts that name the real one.
_SHELL_SHIM = re.compile(r"\"\$basedir/([^\"]+/openclaw\.mjs)\"")


@dataclass(frozen=True, slots=True)
class OpenClaw:
    """An installed OpenClaw: the node that runs it, its script, its version."""

    node: Path
    script: Path
    version: str

    def argv(self, *args: str) -> list[str]:
        """The command line of `openclaw ARGS…`."""
        return [str(self.node), str(self.script), *args]


def fits(version: str) -> bool:
    """Whether clawbus takes that release: the pinned one, or a later one of the same month.

    Releases of one month (2026.9.x) mend, and those of the next may change the plugin interface. A beta does not fit;
    a repackaged release (2026.9.6-1) does.
    """
    match = re.fullmatch(r"2026\.9\.(\d+)(-\d+)?", version)
    return match is not None and int(match[1]) >= 6


async def find(install: bool, say: Callable[[str], None]) -> OpenClaw:
    """The OpenClaw to use: CLAWBUS_OPENCLAW, PATH's if it fits, the cache folder's; else it is installed there.

    `say` gets a line for each thing that a person should know (what is downloaded, how large, where, progress).
    Raises Missing if there is no Node that fits, if CLAWBUS_OPENCLAW names none that fits, if there is none and
    `install` is False, or if the installation fails.
    """
    node = find_node()
    found = _chosen(node.path) or _on_path(node.path, say) or cached(node.path)
    if found:
        return found
    if not install:
        raise Missing(
            f"there is no OpenClaw {_RULE} on this machine",
            f"Run `clawbus demo` or `clawbus up`, which install {PINNED} into {cache_dir()}, "
            f"or `npm install --global openclaw@{PINNED}`, or set {OPENCLAW_VAR}=FILE.",
        )
    await install_openclaw(node, PINNED, folder_of(PINNED), say)
    done = cached(node.path)
    if done is None:
        raise Missing(f"OpenClaw {PINNED} was installed into {folder_of(PINNED)}, but is not there", _again())
    return done


def folder_of(version: str) -> Path:
    """Where in the cache folder a release is installed."""
    return cache_dir() / "openclaw" / version


def cached(node: Path) -> OpenClaw | None:
    """The one in the cache folder, if it is there whole."""
    return read_package(node, folder_of(PINNED) / "node_modules" / "openclaw")


def read_package(node: Path, folder: Path) -> OpenClaw | None:
    """The OpenClaw whose package.json lies in `folder`; None if there is none."""
    try:
        package = json.loads((folder / "package.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    script = folder / "openclaw.mjs"
    if not isinstance(package, dict) or package.get("name") != "openclaw" or not script.is_file():
        return None
    return OpenClaw(node, script, str(package.get("version", "")))


def _chosen(node: Path) -> OpenClaw | None:
    value = variable(OPENCLAW_VAR)
    if not value:
        return None
    remedy = f"Let {OPENCLAW_VAR} name an openclaw program, its openclaw.mjs or its package folder, or unset it."
    found = _behind(node, Path(value))
    if found is None:
        raise Missing(f"{OPENCLAW_VAR} = {value}: no OpenClaw is there", remedy)
    if not fits(found.version):
        raise Missing(f"{OPENCLAW_VAR} = {value}: that is {found.version}; clawbus needs {_RULE}", remedy)
    return found


def _on_path(node: Path, say: Callable[[str], None]) -> OpenClaw | None:
    program = shutil.which("openclaw")
    found = _behind(node, Path(program)) if program else None
    if found is None or fits(found.version):
        return found
    say(f"openclaw {found.version} on PATH is left alone: clawbus needs {_RULE}.")
    return None


def _behind(node: Path, program: Path) -> OpenClaw | None:
    """The package that a program, a link to it, a shell shim or a folder belongs to."""
    real = program.resolve()
    if real.is_file() and real.suffix != ".mjs":
        try:
            shim = _SHELL_SHIM.search(real.read_text("utf-8")[:8192])
        except (OSError, UnicodeDecodeError):
            shim = None
        if shim:
            real = (real.parent / shim[1]).resolve()
    folders = [real, *real.parents][:3]
    return next((found for folder in folders if (found := read_package(node, folder))), None)


def _again() -> str:
    return f"Remove {folder_of(PINNED)} and try again."
