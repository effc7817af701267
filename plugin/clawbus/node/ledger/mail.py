"""Mail that this node has seen: one row per message and agent.

What came over INBOX stays on the bus until it is done with. A broadcast is done with on the bus as soon as it stands
here for each agent that it concerns.

    unread ──► read ──► acked        by the agent itself, with nats_inbox
       └─────► shown                 a turn was begun with the whole of it; it can still be answered
    bound ───► acked                 a result on its way into the session that asked (`sent`)
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from clawbus.wire.envelope import Envelope
from clawbus.wire.subjects import PRIORITIES

MailState = Literal["unread", "read", "acked", "shown", "bound"]
_HELD = "state IN ('unread', 'read', 'bound')"
_FRESH = "state = 'unread' AND wake IS NULL"


@dataclass(frozen=True, slots=True)
class Mail:
    """One message for one agent. `number` is what a model calls it by; `seq` its number in the stream."""

    number: int
    seq: int
    agent: str
    channel: str
    """By which it came: dm, all, team, topics."""
    asks: str
    """The turn that it asks for, as decided when it came: "now", "digest" or "never"."""
    envelope: Envelope
    state: MailState
    ack_subject: str
    """Empty for a broadcast: it was acknowledged when it was stored here."""
    received_at: datetime


class MailTable:
    SCHEMA = """
    CREATE TABLE IF NOT EXISTS mail (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL,
        agent TEXT NOT NULL,
        channel TEXT NOT NULL,
        asks TEXT NOT NULL,
        rank INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        envelope BLOB NOT NULL,
        state TEXT NOT NULL,
        ack_subject TEXT NOT NULL,
        wake INTEGER,
        received_at TEXT NOT NULL,
        UNIQUE (id, agent)
    );
    CREATE INDEX IF NOT EXISTS mail_by_state ON mail (state, agent, rank, number);
    CREATE INDEX IF NOT EXISTS mail_by_wake ON mail (wake);
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(
        self, envelope: Envelope, agent: str, seq: int, ack_subject: str = "", channel: str = "dm", asks: str = "never"
    ) -> Mail:
        """Keep a message; if it is known, take over the newer ack subject. Returns the row as it stands."""
        self._db.execute(
            "INSERT INTO mail (id, agent, channel, asks, rank, seq, envelope, state, ack_subject, received_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, 'unread', ?, ?) "
            "ON CONFLICT (id, agent) DO UPDATE SET ack_subject = excluded.ack_subject",
            (
                envelope.id,
                agent,
                channel,
                asks,
                PRIORITIES.index(envelope.priority),
                seq,
                envelope.encode(),
                ack_subject,
                datetime.now(UTC).isoformat(),
            ),
        )
        return self._all("id = ? AND agent = ?", envelope.id, agent)[0]

    def known(self, message_id: str, agent: str) -> Mail | None:
        """A message that has come before, by its id on the bus."""
        return next(iter(self._all("id = ? AND agent = ?", message_id, agent)), None)

    def waiting(self, agent: str, limit: int) -> list[Mail]:
        """The mail that the agent has to deal with: the highest priority first, in it the oldest."""
        return self._all("agent = ? AND state IN ('unread', 'read') ORDER BY rank, number LIMIT ?", agent, limit)

    def most_urgent(self, busy: Collection[str]) -> Mail | None:
        """Of what asks for a turn of its own and has none yet, the first, by priority and age; not for a busy agent."""
        marks = ",".join("?" * len(busy))
        query = f"{_FRESH} AND asks = 'now' AND agent NOT IN ({marks}) ORDER BY rank, number LIMIT 1"
        return next(iter(self._all(query, *busy)), None)

    def quiet_since(self) -> dict[str, tuple[datetime, datetime]]:
        """Of each agent with mail for a digest: when the first of it came, and the last."""
        rows = self._db.execute(
            "SELECT agent, min(received_at) AS first, max(received_at) AS last FROM mail "  # noqa: S608 - a constant
            f"WHERE {_FRESH} AND asks = 'digest' GROUP BY agent"
        )
        return {
            row["agent"]: (datetime.fromisoformat(row["first"]), datetime.fromisoformat(row["last"])) for row in rows
        }

    def fresh(self, agent: str, limit: int = 50) -> list[Mail]:
        """All that is unread and in no turn yet, whether it asks for one or not."""
        return self._all(f"agent = ? AND {_FRESH} ORDER BY rank, number LIMIT ?", agent, limit)

    def give_to(self, wake: int, mails: list[Mail]) -> None:
        self._db.executemany("UPDATE mail SET wake = ? WHERE number = ?", [(wake, mail.number) for mail in mails])

    def of_wake(self, wake: int) -> list[Mail]:
        return self._all("wake = ? ORDER BY rank, number", wake)

    def find(self, agent: str, number: int) -> Mail | None:
        return next(iter(self._all("agent = ? AND number = ?", agent, number)), None)

    def of_task(self, task_id: str) -> list[Mail]:
        return [mail for mail in self.held() if mail.envelope.task_id == task_id]

    def held(self) -> list[Mail]:
        """All that is still under this node's lease on the bus."""
        return self._all(f"{_HELD} AND ack_subject != ''")

    def mark(self, mail: Mail, state: MailState) -> None:
        self._db.execute("UPDATE mail SET state = ? WHERE number = ?", (state, mail.number))

    def unread(self, agent: str) -> int:
        row = self._db.execute("SELECT count(*) FROM mail WHERE agent = ? AND state = 'unread'", (agent,)).fetchone()
        return int(row[0])

    def _all(self, where: str, *values: object) -> list[Mail]:
        return [_mail(row) for row in self._db.execute(f"SELECT * FROM mail WHERE {where}", values)]  # noqa: S608


def _mail(row: sqlite3.Row) -> Mail:
    return Mail(
        row["number"],
        row["seq"],
        row["agent"],
        row["channel"],
        row["asks"],
        Envelope.model_validate_json(row["envelope"]),
        row["state"],
        row["ack_subject"],
        datetime.fromisoformat(row["received_at"]),
    )
