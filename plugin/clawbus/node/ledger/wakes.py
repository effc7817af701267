"""Turns that mail has asked for: one row per turn; the messages in it point to it (`mail.wake`).

due ──► shown         it stands in the session's transcript
 └────► dropped       nothing was left to show, or the gateway refused it: the mail stays in nats_inbox
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Wake:
    """One turn. `keys` are the idempotency keys of all tries to begin it, oldest first."""

    number: int
    agent: str
    session_key: str
    keys: tuple[str, ...]
    boot_id: str
    """The gateway process that accepted the last try."""


class WakeTable:
    SCHEMA = """
    CREATE TABLE IF NOT EXISTS wakes (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        agent TEXT NOT NULL,
        session_key TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'due',
        keys TEXT NOT NULL DEFAULT '[]',
        boot_id TEXT NOT NULL DEFAULT '',
        created_at TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS wakes_by_session ON wakes (session_key, number);
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, agent: str, session_key: str) -> Wake:
        cursor = self._db.execute(
            "INSERT INTO wakes (agent, session_key, created_at) VALUES (?, ?, ?)",
            (agent, session_key, datetime.now(UTC).isoformat()),
        )
        return Wake(int(cursor.lastrowid or 0), agent, session_key, (), "")

    def get(self, number: int) -> Wake | None:
        row = self._db.execute("SELECT * FROM wakes WHERE number = ? AND state = 'due'", (number,)).fetchone()
        return None if row is None else _wake(row)

    def unfinished(self) -> list[Wake]:
        return [_wake(row) for row in self._db.execute("SELECT * FROM wakes WHERE state = 'due' ORDER BY number")]

    def latest(self, session_key: str, at: datetime | None = None) -> int | None:
        """The number of the last turn of a session, whatever its state; of those that were there `at` that time.

        A session has one turn at a time: what was begun in it then was begun by that one.
        """
        before = "9" if at is None else at.astimezone(UTC).isoformat()
        query = "SELECT max(number) FROM wakes WHERE session_key = ? AND created_at <= ?"
        row = self._db.execute(query, (session_key, before)).fetchone()
        return None if row[0] is None else int(row[0])

    def trying(self, number: int, keys: tuple[str, ...], boot_id: str) -> None:
        """Before the call into the gateway: what a restart of this node must know to look for it."""
        self._db.execute("UPDATE wakes SET keys = ?, boot_id = ? WHERE number = ?", (json.dumps(keys), boot_id, number))

    def settled(self, number: int, state: str) -> None:
        """`shown` or `dropped`."""
        self._db.execute("UPDATE wakes SET state = ? WHERE number = ?", (state, number))


def _wake(row: sqlite3.Row) -> Wake:
    return Wake(row["number"], row["agent"], row["session_key"], tuple(json.loads(row["keys"])), row["boot_id"])
