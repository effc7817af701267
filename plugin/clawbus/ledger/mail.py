"""Mail that this node has seen. It stays on the bus until it is acknowledged; here is what a restart must know."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime

from clawbus.envelope import Envelope


@dataclass(frozen=True, slots=True)
class Mail:
    """One message for one agent. `seq` is its number in the stream INBOX, and what a model calls it by."""

    seq: int
    agent: str
    envelope: Envelope
    state: str
    """`unread`, `read`, `acked`."""
    ack_subject: str


class MailTable:
    SCHEMA = """
    CREATE TABLE IF NOT EXISTS mail (
        id TEXT PRIMARY KEY,
        seq INTEGER NOT NULL,
        agent TEXT NOT NULL,
        envelope BLOB NOT NULL,
        state TEXT NOT NULL,
        ack_subject TEXT NOT NULL,
        received_at TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS mail_by_agent ON mail (agent, state, seq);
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, envelope: Envelope, agent: str, seq: int, ack_subject: str) -> Mail:
        """Keep a message; if it is known, take over the newer ack subject. Returns the row as it stands."""
        self._db.execute(
            "INSERT INTO mail (id, seq, agent, envelope, state, ack_subject, received_at) "
            "VALUES (?, ?, ?, ?, 'unread', ?, ?) ON CONFLICT (id) DO UPDATE SET ack_subject = excluded.ack_subject",
            (envelope.id, seq, agent, envelope.encode(), ack_subject, datetime.now(UTC).isoformat()),
        )
        return _mail(self._db.execute("SELECT * FROM mail WHERE id = ?", (envelope.id,)).fetchone())

    def waiting(self, agent: str, limit: int) -> list[Mail]:
        """What the agent has not acknowledged, the oldest first."""
        rows = self._db.execute(
            "SELECT * FROM mail WHERE agent = ? AND state != 'acked' ORDER BY seq LIMIT ?", (agent, limit)
        )
        return [_mail(row) for row in rows]

    def find(self, agent: str, seq: int) -> Mail | None:
        row = self._db.execute("SELECT * FROM mail WHERE agent = ? AND seq = ?", (agent, seq)).fetchone()
        return None if row is None else _mail(row)

    def of_task(self, task_id: str) -> list[Mail]:
        rows = self._db.execute("SELECT * FROM mail WHERE state != 'acked'")
        return [mail for mail in map(_mail, rows) if mail.envelope.task_id == task_id]

    def held(self) -> list[Mail]:
        """All that is still under this node's lease."""
        return [_mail(row) for row in self._db.execute("SELECT * FROM mail WHERE state != 'acked'")]

    def mark(self, mail: Mail, state: str) -> None:
        self._db.execute("UPDATE mail SET state = ? WHERE id = ?", (state, mail.envelope.id))

    def unread(self, agent: str) -> int:
        row = self._db.execute("SELECT count(*) FROM mail WHERE agent = ? AND state = 'unread'", (agent,)).fetchone()
        return int(row[0])


def _mail(row: sqlite3.Row) -> Mail:
    return Mail(
        row["seq"],
        row["agent"],
        Envelope.model_validate_json(row["envelope"]),
        row["state"],
        row["ack_subject"],
    )
