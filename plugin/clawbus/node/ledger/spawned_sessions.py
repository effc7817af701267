"""Sessions that were spawned, at whatever remove, by a turn of the bus: each with the session of that turn.

Such a session has many turns, each for another message: what one of them has spawned goes by the message of that one.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class SpawnedSession:
    """Whence a session comes: the session of the bus, and the turn there that mail has asked for, if one did."""

    root: str
    wake: int | None


class SpawnedSessionTable:
    SCHEMA = """
    CREATE TABLE IF NOT EXISTS descents (
        session_key TEXT PRIMARY KEY,
        root TEXT NOT NULL,
        wake INTEGER,
        seen_at TEXT NOT NULL
    );
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, session_key: str, root: str, wake: int | None = None) -> None:
        """The first word counts: a session keeps the turn that has spawned it."""
        at = datetime.now(UTC).isoformat()
        self._db.execute(
            "INSERT OR IGNORE INTO descents (session_key, root, wake, seen_at) VALUES (?, ?, ?, ?)",
            (session_key, root, wake, at),
        )

    def of(self, session_key: str) -> SpawnedSession | None:
        """Whence a session descends, None if that is not known."""
        row = self._db.execute("SELECT root, wake FROM descents WHERE session_key = ?", (session_key,)).fetchone()
        return None if row is None else SpawnedSession(row["root"], row["wake"])

    def prune(self, before: str) -> None:
        self._db.execute("DELETE FROM descents WHERE seen_at < ?", (before,))
