"""The OpenClaw to use: the user's own if its version fits, else one in the cache folder.

Its plugin interfaces are experimental, so only releases fit that clawbus was tried with. The version is read from
package.json: `openclaw --version` takes a second.
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
    """True if clawbus takes a release: the pinned one, or a later one of the same month.

    A beta does not fit; a repackaged release (2026.9.6-1) does.
    """
    # Releases of one month (2026.9.x) mend errors. Those of the next month may change the plugin interface.
    match = re.fullmatch(r"2026\.9\.(\d+)(-\d+)?", version)
    return match is not None and int(match[1]) >= 6


async def find(install: bool, say: Callable[[str], None]) -> OpenClaw:
    """The first that there is: CLAWBUS_OPENCLAW, PATH's if it fits, the cache folder's; else it is installed there.

    `say` gets lines for a person (what is downloaded, how large, where, progress). Raises Missing if no Node fits, if
    CLAWBUS_OPENCLAW names no OpenClaw that fits, if there is none and `install` is False, or if the installation fails.
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
    """The folder of a release in the cache folder."""
    return cache_dir() / "openclaw" / version


def cached(node: Path) -> OpenClaw | None:
    """The OpenClaw in the cache folder; None if there is none."""
    return read_package(node, folder_of(PINNED) / "node_modules" / "openclaw")


def read_package(node: Path, folder: Path) -> OpenClaw | None:
    """The OpenClaw of a package folder; None if there is none."""
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
    """The OpenClaw to which a program, a link to it, a shell shim or a folder belongs."""
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
