"""The files beside the code that travel with the package: the shim, the skills, the souls, the examples."""

from __future__ import annotations

from pathlib import Path

from clawbus.errors import Missing, NotFound

_PACKAGE = Path(__file__).resolve().parent
_IN_CLONE = {"openclaw": "plugin/openclaw", "skills": "skills", "souls": "souls", "examples": "examples"}
"""Where pyproject.toml takes each from when it builds the wheel."""


def folder(name: str) -> Path:
    """The folder `openclaw`, `skills`, `souls` or `examples`: of the wheel, else of the clone.

    Raises NotFound for another name, Missing if the installation lacks it.
    """
    if name not in _IN_CLONE:
        raise NotFound(f"there is no asset {name!r}", f"There are: {', '.join(_IN_CLONE)}.")
    for path in (_PACKAGE / "assets" / name, _PACKAGE.parents[1] / _IN_CLONE[name]):
        if path.is_dir():
            return path
    raise Missing(
        f"this installation of clawbus lacks its {name} folder",
        "Install it again: pip install --force-reinstall clawbus",
    )
