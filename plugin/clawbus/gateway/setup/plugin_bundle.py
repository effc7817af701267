"""Assembles the small folder that a gateway loads as the plugin: manifest, shim, tools.json, skills.

OpenClaw copies a plugin's whole folder at each load, and reads skills only inside it. So neither the clone nor the
wheel can be that folder.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import tempfile
from pathlib import Path

from clawbus.settings import asset_folder

_FILES = ("openclaw.plugin.json", "package.json", "index.js", "tools.json")
_FOLDER_MODE = 0o755
_FILE_MODE = 0o644  # OpenClaw refuses plugin files that others may write


def assemble(target: Path) -> Path:
    """Write the plugin into the folder `target` and return it. Raises OSError if it cannot be written.

    A folder that already has the same files is left alone. Another one is replaced as a whole, by two renames: no
    reader sees half of it, but between the renames there is none.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        built = scratch / "new"
        _build(built)
        if not _same(built, target):
            if target.exists():
                target.rename(scratch / "old")
            built.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _build(folder: Path) -> None:
    shim = asset_folder("openclaw")
    folder.mkdir()
    for name in _FILES:
        shutil.copyfile(shim / name, folder / name)
    unwanted = shutil.ignore_patterns(".*", "__pycache__")
    shutil.copytree(asset_folder("skills"), folder / "skills", ignore=unwanted, copy_function=shutil.copyfile)
    for here, _, files in os.walk(folder):
        Path(here).chmod(_FOLDER_MODE)
        for name in files:
            (Path(here) / name).chmod(_FILE_MODE)


def _same(left: Path, right: Path) -> bool:
    if not right.is_dir():
        return False
    names = _tree(left)
    if names != _tree(right):
        return False
    return all((left / name).is_dir() or filecmp.cmp(left / name, right / name, shallow=False) for name in names)


def _tree(folder: Path) -> dict[Path, int]:
    return {path.relative_to(folder): path.stat().st_mode for path in folder.rglob("*")}
