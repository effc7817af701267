"""The disk under a folder: the room that it has, and the error if it has none."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from clawbus.errors import DiskFull

FULL_BYTES = 2 * 1024 * 1024
"""With less free than this nothing is written: the largest message might not fit, and a write that fails half way
costs more than one that is not tried."""
_LOW_BYTES = 512 * 1024 * 1024
_BLOCK = 1024 * 1024
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def free_bytes(folder: Path) -> int | None:
    """The bytes that this user may still write below a folder, which need not exist yet; None if unknown."""
    with contextlib.suppress(OSError):
        if (found := os.statvfs(_there(folder))).f_blocks:
            blocks = found.f_bfree if os.geteuid() == 0 else found.f_bavail
            return 0 if found.f_files and not found.f_ffree else blocks * found.f_frsize
    return None


def low_bytes(folder: Path) -> int:
    """The free bytes below which people are told, while there is time: half a GiB, or a tenth of a small disk."""
    with contextlib.suppress(OSError):
        found = os.statvfs(_there(folder))
        return min(_LOW_BYTES, found.f_blocks * found.f_frsize // 10)
    return _LOW_BYTES


def full(folder: Path, what: str) -> DiskFull | None:
    """The error to raise if the disk is full; None while there is room.

    `what`: a clause about what happens to the data that was to be written.
    """
    free = free_bytes(folder)
    return DiskFull(folder, what) if free is not None and free < FULL_BYTES else None


def _there(folder: Path) -> Path:
    """The folder, or its nearest parent that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())


def why_unwritable(folder: Path) -> str:
    """The system's reason why a folder cannot be written; empty if it can."""
    # It is tried, since no number shows a quota, or a disk that is read-only.
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
    """A size for people: `640 MiB`, `8.7 GiB`."""
    size, unit = float(size_bytes), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.1f} {_UNITS[unit]}" if unit > 2 and size < 100 else f"{size:.0f} {_UNITS[unit]}"
