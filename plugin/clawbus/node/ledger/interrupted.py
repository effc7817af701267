"""Sessions whose turn was ended since people stopped the company: each is told once that it may go on.

That of a task is told by the message that begins the task anew; it stands here only so that this message says so.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class InterruptedRun:
    """One session. `keys` are the idempotency keys of all tries to tell it, oldest first."""

    session_key: str
    agent: str
    keys: tuple[str, ...]
    boot_id: str


class InterruptedTable:
    SCHEMA = """
    CREATE TABLE IF NOT EXISTS cut (
        session_key TEXT PRIMARY KEY,
        agent TEXT NOT NULL,
        of_task INTEGER NOT NULL,
        keys TEXT NOT NULL DEFAULT '[]',
        boot_id TEXT NOT NULL DEFAULT '',
        cut_at TEXT NOT NULL
    );
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, session_key: str, agent: str, *, of_task: bool) -> None:
        """A turn of the session was ended. One that was still to be told of an earlier one is told once."""
        self._db.execute(
            "INSERT OR REPLACE INTO cut (session_key, agent, of_task, cut_at) VALUES (?, ?, ?, ?)",
            (session_key, agent, of_task, datetime.now(UTC).isoformat()),
        )

    def has(self, session_key: str) -> bool:
        return self._db.execute("SELECT 1 FROM cut WHERE session_key = ?", (session_key,)).fetchone() is not None

    def to_tell(self) -> list[InterruptedRun]:
        rows = self._db.execute("SELECT * FROM cut WHERE NOT of_task ORDER BY cut_at")
        return [
            InterruptedRun(row["session_key"], row["agent"], tuple(json.loads(row["keys"])), row["boot_id"])
            for row in rows
        ]

    def trying(self, session_key: str, keys: tuple[str, ...], boot_id: str) -> None:
        """Before the call into the gateway: what a restart of this node must know to look for it."""
        self._db.execute(
            "UPDATE cut SET keys = ?, boot_id = ? WHERE session_key = ?", (json.dumps(keys), boot_id, session_key)
        )

    def told(self, session_key: str) -> None:
        self._db.execute("DELETE FROM cut WHERE session_key = ?", (session_key,))

    def prune(self, before: str) -> None:
        self._db.execute("DELETE FROM cut WHERE cut_at < ?", (before,))
