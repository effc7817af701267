"""A copy of the tree that runs as itself: its `clawbus` is what every process finds that its interpreter starts.

The checkout is installed as editable, and nodes are started with an environment that drops PYTHONPATH. So the copy has
a virtual environment of its own, which takes every package from the checkout's, but clawbus from beside the copy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

from tests.rows.table import ROOT, Break

_DROPPED = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTEST_ADDOPTS")


@dataclass(frozen=True, slots=True)
class Copy:
    """`tree`: the files of the checkout. `python`: the interpreter whose clawbus is the one in `tree`."""

    folder: Path

    @property
    def tree(self) -> Path:
        return self.folder / "tree"

    @property
    def python(self) -> Path:
        return self.folder / "venv" / "bin" / "python"

    @property
    def env(self) -> dict[str, str]:
        """The environment for its processes."""
        kept = {name: value for name, value in os.environ.items() if name not in _DROPPED}
        return kept | {"PATH": f"{self.python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}

    def write(self, fault: Break) -> None:
        """Put a fault into the tree. Raises ValueError if its place is not there."""
        file = self.tree / fault.file
        file.write_text(fault.applied(file.read_text()))


def snapshot(folder: Path, root: Path = ROOT) -> Copy:
    """Copy what git tracks, or would track, of `root` as it lies there now."""
    listed = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split("\0")
    copy = Copy(folder)
    for name in sorted({*names} - {""}):
        if (root / name).is_file():
            target = copy.tree / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target)
    _interpreter(copy)
    return copy


def again(copy: Copy, folder: Path) -> Copy:
    """The same tree once more, without what running it has left there."""
    shutil.copytree(copy.tree, folder / "tree", ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
    other = Copy(folder)
    _interpreter(other)
    return other


def _interpreter(copy: Copy) -> None:
    """A line of a .pth file adds a folder to sys.path, but reads no .pth there: not the checkout's editable install."""
    venv.EnvBuilder(symlinks=True, with_pip=False).create(copy.folder / "venv")
    site = Path(sysconfig.get_path("purelib", vars={"base": str(copy.folder / "venv")}))
    packages = [path for path in sys.path if Path(path).name == "site-packages"]
    (site / "copy.pth").write_text("\n".join([str(copy.tree / "plugin"), *packages]) + "\n")
    server = Path(sys.executable).parent / "nats-server"  # clawbus looks for it beside the interpreter
    if server.exists():
        (copy.python.parent / "nats-server").symlink_to(server)
