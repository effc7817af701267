"""Folders opened one step after the other, through no link.

An agent owns its workspace and may put a link where a folder was, between a look and a use: so what is looked at is
what is used, a descriptor and no path (openat(2), O_NOFOLLOW).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY


@contextlib.contextmanager
def opened(root: Path, *below: str, make: bool = False) -> Iterator[int]:
    """The descriptor of a folder below `root`; with `make`, one that is missing is made.

    Raises OSError: there is none, or a part of the way is a link or no folder.
    """
    at = os.open(root, _FOLDER)
    try:
        for part in below:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=at)
            inner = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = inner
        yield at
    finally:
        os.close(at)


def write(root: Path, below: tuple[str, ...], name: str, data: bytes) -> Path:
    """A file in such a folder: whole or not at all, over whatever was there. Raises OSError."""
    scratch = f".{name}.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with opened(root, *below, make=True) as folder:
        with os.fdopen(os.open(scratch, flags, 0o600, dir_fd=folder), "wb") as stream:
            stream.write(data)
        os.replace(scratch, name, src_dir_fd=folder, dst_dir_fd=folder)
    return root.joinpath(*below, name)
