"""The steers of tasks that this node has, or will have. Each stays until it stands in a transcript, or cannot any more.

waiting ──► given ──► heard        given: the gateway has it, under a key of ours
   └──────────┴────► late, refused
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Steer:
    """One thing said to a task."""

    id: str
    task_id: str
    sender: str
    text: str
    key: str
    """The idempotency key of the message that brings it: its own, or the one that opens the attempt."""


class SteerTable:
    SCHEMA = """
    CREATE TABLE IF NOT EXISTS steers (
        id TEXT PRIMARY KEY,
        task_id TEXT NOT NULL,
        sender TEXT NOT NULL,
        text TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'waiting',
        key TEXT NOT NULL DEFAULT '',
        said_at TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS steers_by_task ON steers (task_id, state);
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, steer: Steer) -> None:
        self._db.execute(
            "INSERT INTO steers (id, task_id, sender, text, said_at) VALUES (?, ?, ?, ?, ?)",
            (steer.id, steer.task_id, steer.sender, steer.text, datetime.now(UTC).isoformat()),
        )

    def knows(self, steer_id: str) -> bool:
        return self._db.execute("SELECT 1 FROM steers WHERE id = ?", (steer_id,)).fetchone() is not None

    def open(self, task_id: str) -> list[Steer]:
        """The steers that a task has not heard yet, in the order in which they came."""
        rows = self._db.execute(
            "SELECT * FROM steers WHERE task_id = ? AND state IN ('waiting', 'given') ORDER BY said_at, id", (task_id,)
        )
        return [Steer(row["id"], row["task_id"], row["sender"], row["text"], row["key"]) for row in rows]

    def given(self, steer_id: str, key: str) -> None:
        """Written before the call into the gateway that brings it."""
        self._db.execute("UPDATE steers SET state = 'given', key = ? WHERE id = ?", (key, steer_id))

    def settle(self, steer_id: str, state: str) -> None:
        """`heard`, `late` or `refused`."""
        self._db.execute("UPDATE steers SET state = ? WHERE id = ?", (state, steer_id))

    def was_heard(self, task_id: str) -> bool:
        """True if a task has heard something while it ran."""
        query = "SELECT 1 FROM steers WHERE task_id = ? AND state = 'heard'"
        return self._db.execute(query, (task_id,)).fetchone() is not None

    def prune(self, before: str) -> None:
        self._db.execute("DELETE FROM steers WHERE said_at < ?", (before,))
