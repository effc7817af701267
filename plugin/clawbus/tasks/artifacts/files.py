"""Files of an agent's workspace: read and written through no link, with names that are safe anywhere.

An agent owns its workspace, and may put a link where a folder was, between a check and its use. So folders are opened
one step after the other, and the descriptor that was checked is the one that is used (openat(2), O_NOFOLLOW).
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from clawbus.errors import InvalidInput
from clawbus.tasks.artifacts.store import MAX_FILE_BYTES
from clawbus.wire.envelope import Artifact
from clawbus.wire.redaction import without_keys
from clawbus.wire.sanitize import inert

MAX_FILES = 20
"""The most artifacts of one task or message; the envelope has the same bound."""
_MAX_NAME_BYTES = 120
_URI = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]{1,31})://(?P<rest>[\x21-\x7e]{1,1900})")
_FIELD = "artifacts"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
"""NONBLOCK: opening a pipe would wait for a writer. NOFOLLOW: the path was resolved, so a link there is a new one."""
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\.|$)", re.IGNORECASE)
"""The names of devices, with any ending, on a Windows disk (WSL2)."""


def foreign(address: str) -> Artifact | None:
    """A reference to a foreign address; None if `address` is a path. Raises InvalidInput for `file://`."""
    found = _URI.fullmatch(address)
    if found is None:
        return None
    if found["scheme"] == "file":
        raise InvalidInput(_FIELD, address, "names a file of this machine", "Give the path itself.")
    path = found["rest"].partition("?")[0].partition("#")[0]
    return Artifact(name=safe_name(PurePosixPath(path).name or found["scheme"]), uri=address)


def read_inside(workspace: Path, path: str) -> tuple[str, bytes]:
    """The name and the content of a file that lies in a workspace.

    Links may lead to it, if it lies inside. Raises InvalidInput if there is none, if it lies outside, is no plain file,
    is too large, cannot be read, or holds a secret key.
    """
    try:
        root = workspace.resolve(strict=True)
        real = (root / path).resolve(strict=True)
        if not real.is_relative_to(root):
            raise InvalidInput(_FIELD, path, "lies outside your workspace", f"Copy it into {root} first.")
        *below, name = real.relative_to(root).parts or (".",)
        with opened(root, *below) as folder, os.fdopen(os.open(name, _FILE, dir_fd=folder), "rb") as stream:
            found = os.fstat(stream.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise InvalidInput(_FIELD, path, "is no plain file", "Pack a folder into one file.")
            data = stream.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise InvalidInput(_FIELD, path, f"cannot be read: {reason}", "Give its path in your workspace.") from None
    if len(data) > MAX_FILE_BYTES:
        remedy = "Split it, or put it elsewhere and give its address."
        raise InvalidInput(_FIELD, path, f"more than {MAX_FILE_BYTES // 2**20} MiB", remedy)
    # The hash of the content is its address, so the key cannot be taken out of it.
    if any(leak.taken_out for leak in without_keys(data)[1]):
        raise InvalidInput(_FIELD, path, "holds a secret key (an nkey seed)", "Take the key out of the file first.")
    return safe_name(real.name), data


def safe_name(name: str) -> str:
    """A file name that is safe in any folder: no slash, no invisible letter, not only dots, no device, not long."""
    last = unicodedata.normalize("NFC", name.replace("\\", "/")).rpartition("/")[2]
    kept = "".join(char if _plain(char) else "_" for char in last).lstrip(".-").rstrip(".")
    kept = f"_{kept}" if _RESERVED.match(kept) else kept
    stem, dot, suffix = kept.rpartition(".")
    if not stem or len(suffix) > 12:
        stem, dot, suffix = kept, "", ""
    room = _MAX_NAME_BYTES - len((dot + suffix).encode())
    short = stem.encode()[:room].decode("utf-8", "ignore") + dot + suffix
    return short.rstrip(".") or "file"  # again: the cut may have left a dot at the end


def _plain(char: str) -> bool:
    return char in "._-" or (char.isalnum() and inert(char) == char)


@contextlib.contextmanager
def opened(root: Path, *below: str, make: bool = False) -> Iterator[int]:
    """The descriptor of a folder below `root`. `make`: missing folders are made.

    Raises OSError if there is no such folder, or if a part of the path is a link or no folder.
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
    """Write a file in such a folder, whole or not at all. It replaces whatever was there. Raises OSError."""
    scratch = f".{name}.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with opened(root, *below, make=True) as folder:
        with os.fdopen(os.open(scratch, flags, 0o600, dir_fd=folder), "wb") as stream:
            stream.write(data)
        os.replace(scratch, name, src_dir_fd=folder, dst_dir_fd=folder)
    return root.joinpath(*below, name)
