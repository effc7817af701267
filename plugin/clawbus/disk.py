"""The disk under a folder: how much room it has, and what is said where it has none."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from clawbus.errors import DiskFull

FULL_BYTES = 2 * 1024 * 1024
"""With less than this nothing is begun: the largest message might not fit, and a write that fails half way costs more
than one that is not tried."""
_LOW_BYTES = 512 * 1024 * 1024
_BLOCK = 1024 * 1024
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def free_bytes(folder: Path) -> int | None:
    """What this user may still write below a folder that is there, or is to be made; None if the system cannot tell."""
    with contextlib.suppress(OSError):
        if (found := os.statvfs(_there(folder))).f_blocks:
            blocks = found.f_bfree if os.geteuid() == 0 else found.f_bavail
            return 0 if found.f_files and not found.f_ffree else blocks * found.f_frsize
    return None


def low_bytes(folder: Path) -> int:
    """With less than this free people are told, while there is time: half a GiB, of a small disk a tenth."""
    with contextlib.suppress(OSError):
        found = os.statvfs(_there(folder))
        return min(_LOW_BYTES, found.f_blocks * found.f_frsize // 10)
    return _LOW_BYTES


def full(folder: Path, what: str) -> DiskFull | None:
    """The error to raise if the disk is full; `what` became of what was to be written. None while there is room."""
    free = free_bytes(folder)
    return DiskFull(folder, what) if free is not None and free < FULL_BYTES else None


def _there(folder: Path) -> Path:
    """The folder, or what there is of its path."""
    return next(one for one in (folder.absolute(), *folder.absolute().parents) if one.is_dir())


def why_unwritable(folder: Path) -> str:
    """Why nobody can write there, in the system's words; empty if it can be done. It is tried: a quota or a disk that
    is read-only shows in no number."""
    scratch = folder / f".room.{os.getpid()}"
    try:
        with scratch.open("wb") as file:
            for _ in range(FULL_BYTES // _BLOCK):
                file.write(bytes(_BLOCK))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.strerror or str(error)
    finally:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)
    return ""


def in_words(size_bytes: int) -> str:
    """A size as people read it: `640 MiB`, `8.7 GiB`."""
    size, unit = float(size_bytes), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.1f} {_UNITS[unit]}" if unit > 2 and size < 100 else f"{size:.0f} {_UNITS[unit]}"
