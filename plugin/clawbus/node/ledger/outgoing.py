"""The messages that this node has to publish and has no ack for yet. A row goes when the server has it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to be published. `msg_id` stays the same over all tries, which makes them one; see `rename`."""

    msg_id: str
    subject: str
    data: bytes


class OutgoingTable:
    SCHEMA = """
    CREATE TABLE IF NOT EXISTS outbox (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        msg_id TEXT NOT NULL UNIQUE,
        subject TEXT NOT NULL,
        data BLOB NOT NULL
    );
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, out: Outgoing) -> None:
        self._db.execute(
            "INSERT OR IGNORE INTO outbox (msg_id, subject, data) VALUES (?, ?, ?)",
            (out.msg_id, out.subject, out.data),
        )

    def remove(self, *msg_ids: str) -> None:
        marks = ",".join("?" * len(msg_ids))
        self._db.execute(f"DELETE FROM outbox WHERE msg_id IN ({marks})", msg_ids)  # noqa: S608 - marks only

    def rename(self, msg_id: str, out: Outgoing) -> None:
        """Keep `out` in the place of a message that can never go out under its id."""
        self._db.execute("UPDATE outbox SET msg_id = ?, data = ? WHERE msg_id = ?", (out.msg_id, out.data, msg_id))

    def holds(self, msg_id: str) -> bool:
        return self._db.execute("SELECT 1 FROM outbox WHERE msg_id = ?", (msg_id,)).fetchone() is not None

    def waiting(self, limit: int = 100) -> list[Outgoing]:
        """The oldest first: a sender's messages keep their order."""
        rows = self._db.execute("SELECT msg_id, subject, data FROM outbox ORDER BY number LIMIT ?", (limit,))
        return [Outgoing(row["msg_id"], row["subject"], row["data"]) for row in rows]

    def count(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM outbox").fetchone()[0])
