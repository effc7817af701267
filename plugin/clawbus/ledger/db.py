"""The file: schema, durability, and the four tables as objects.

`synchronous=FULL` with a write-ahead log: a committed row survives a power loss (sqlite.org/pragma.html). The
calls are synchronous: a commit is one fsync, and a gateway makes a few dozen of them in a minute.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from clawbus.errors import Missing
from clawbus.ledger.mail import MailTable
from clawbus.ledger.outbox import OutboxTable
from clawbus.ledger.runs import RunTable
from clawbus.ledger.sent import SentTable

VERSION = 1


class Ledger:
    """An open ledger. Close it, or use it as a context manager."""

    def __init__(self, path: Path) -> None:
        """Open `path`, making it (mode 600) where it is missing. Raises Missing if a newer clawbus wrote it."""
        path.touch(mode=0o600)
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.DatabaseError as error:
            raise Missing(
                f"the ledger {path} cannot be used: {error}",
                "Move it away; tasks that it held run again when their lease is over.",
            ) from None
        if version > VERSION:
            raise Missing(
                f"the ledger {path} is of version {version}; this clawbus reads {VERSION}",
                "Use the newer clawbus that wrote it.",
            )
        self.outbox = OutboxTable(self._db)
        self.sent = SentTable(self._db)
        self.runs = RunTable(self._db)
        self.mail = MailTable(self._db)
        for table in (self.outbox, self.sent, self.runs, self.mail):
            self._db.executescript(table.SCHEMA)
        self._db.execute(f"PRAGMA user_version={VERSION}")

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """All writes of the block as one commit: they are there together after a crash, or none is."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def prune(self, days: int = 60) -> None:
        """Forget what was over that long ago: longer than any stream keeps a message that could come again."""
        before = (datetime.now(UTC) - timedelta(days=days)).isoformat()
        self._db.execute("DELETE FROM runs WHERE state = 'closed' AND updated_at < ?", (before,))
        self._db.execute("DELETE FROM mail WHERE state = 'acked' AND received_at < ?", (before,))
        settled = "announce IN ('announced', 'answered', 'inbox')"
        self._db.execute(f"DELETE FROM sent WHERE {settled} AND created_at < ?", (before,))  # noqa: S608 - a constant

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
