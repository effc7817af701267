"""The connection to the ledger's file. That its disk is full is said here, in our words; the rest stays sqlite's."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from clawbus.disk import full
from clawbus.errors import DiskFull

_UNDONE = "nothing was sent"
_PRIMARY = 0xFF
_FULL_OR_NOT = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
"""The codes that sqlite also gives for a full disk: it could not lengthen the log, or make the file beside it."""
T = TypeVar("T")


class Database(sqlite3.Connection):
    """Raises DiskFull where sqlite would say so. What was to be written is not, and can be tried again."""

    folder: Path

    def execute(self, *args: Any) -> sqlite3.Cursor:
        return self._told(super().execute, *args)

    def executescript(self, script: str) -> sqlite3.Cursor:
        return self._told(super().executescript, script)

    def executemany(self, *args: Any) -> sqlite3.Cursor:
        return self._told(super().executemany, *args)

    def _told(self, call: Callable[..., T], *args: Any) -> T:
        try:
            return call(*args)
        except sqlite3.OperationalError as error:
            code = error.sqlite_errorcode & _PRIMARY
            if code == sqlite3.SQLITE_FULL:
                raise DiskFull(self.folder, _UNDONE) from None
            if code in _FULL_OR_NOT and (found := full(self.folder, _UNDONE)) is not None:
                raise found from None
            raise


def open_database(path: Path) -> Database:
    """Open the file, making it (mode 600) where it is missing. Raises DiskFull, OSError."""
    try:
        path.touch(mode=0o600)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFull(path.parent, _UNDONE) from None
        raise
    db = sqlite3.connect(path, isolation_level=None, factory=Database)
    db.folder = path.parent
    db.row_factory = sqlite3.Row
    return db
