"""Sessions that were spawned, at whatever remove, by a turn of the bus: each with the session of that turn."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime


class DescentTable:
    SCHEMA = """
    CREATE TABLE IF NOT EXISTS descents (
        session_key TEXT PRIMARY KEY,
        root TEXT NOT NULL,
        seen_at TEXT NOT NULL
    );
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, session_key: str, root: str) -> None:
        at = datetime.now(UTC).isoformat()
        self._db.execute(
            "INSERT OR IGNORE INTO descents (session_key, root, seen_at) VALUES (?, ?, ?)", (session_key, root, at)
        )

    def root(self, session_key: str) -> str | None:
        """The session of the bus from which a session descends, None if that is not known."""
        row = self._db.execute("SELECT root FROM descents WHERE session_key = ?", (session_key,)).fetchone()
        return None if row is None else str(row[0])

    def prune(self, before: str) -> None:
        self._db.execute("DELETE FROM descents WHERE seen_at < ?", (before,))
