"""Blockers that agents of this gateway have raised, each with its session: there the answer belongs.

open ──► answered: the answer stands in the session, in a turn of `key`      (past: a newer attempt of the task began)
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime

from clawbus.gateway import SessionKey


@dataclass(frozen=True, slots=True)
class BlockerRow:
    """One blocker. `key` and `boot_id`: the turn that has heard its answer, and the gateway process of it; or empty."""

    thread: str
    key: str
    boot_id: str


class BlockerTable:
    SCHEMA = """
    CREATE TABLE IF NOT EXISTS raised (
        thread TEXT NOT NULL,
        agent TEXT NOT NULL,
        session_key TEXT NOT NULL,
        key TEXT NOT NULL DEFAULT '',
        boot_id TEXT NOT NULL DEFAULT '',
        past INTEGER NOT NULL DEFAULT 0,
        created_at TEXT NOT NULL,
        PRIMARY KEY (thread, agent)
    );
    CREATE INDEX IF NOT EXISTS raised_by_session ON raised (session_key, created_at);
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, thread: str, agent: str, session_key: str) -> None:
        self._db.execute(
            "INSERT OR IGNORE INTO raised (thread, agent, session_key, created_at) VALUES (?, ?, ?, ?)",
            (thread, agent, session_key, datetime.now(UTC).isoformat()),
        )

    def session_of(self, thread: str, agent: str) -> str | None:
        """The session in which this agent raised that blocker; None if it did not."""
        row = self._db.execute(
            "SELECT session_key FROM raised WHERE thread = ? AND agent = ?", (thread, agent)
        ).fetchone()
        return None if row is None else str(row[0])

    def latest(self, session_key: str) -> BlockerRow | None:
        """The newest blocker of a session's present attempt."""
        query = "SELECT thread, key, boot_id FROM raised WHERE session_key = ? AND past = 0 ORDER BY created_at DESC"
        row = self._db.execute(query, (session_key,)).fetchone()
        return None if row is None else BlockerRow(*row)

    def answered(self, thread: str, agent: str, key: str, boot_id: str) -> None:
        """The answer stands in the session; the turn of `key` works on it."""
        self._db.execute(
            "UPDATE raised SET key = ?, boot_id = ? WHERE thread = ? AND agent = ?", (key, boot_id, thread, agent)
        )

    def awaited(self, thread: str, agent: str) -> bool:
        """True if a session of the bus, such as a task's, waits for the answer to that blocker."""
        query = "SELECT session_key FROM raised WHERE thread = ? AND agent = ? AND key = '' AND past = 0"
        row = self._db.execute(query, (thread, agent)).fetchone()
        key = SessionKey.of_bus(row[0]) if row is not None else None
        return key is not None and key.agent == agent

    def give_up(self, thread: str, agent: str) -> None:
        """Its answer cannot come into the session, or it was never sent: it is no longer waited for."""
        self._db.execute("UPDATE raised SET past = 1 WHERE thread = ? AND agent = ?", (thread, agent))

    def begin_anew(self, session_key: str) -> None:
        """A new attempt begins: what an earlier one has asked is no longer waited for."""
        self._db.execute("UPDATE raised SET past = 1 WHERE session_key = ?", (session_key,))
