"""Tasks that agents of this gateway have given away, and how far their results have come back.

`announce` says where a result is on its way into the session that asked:

    none ──► due ──► trying ──► announced        (or: answered by a waiting nats_request)
                       │ ▲
                       └─┘ a crash in the announce itself: tried again under a new key, marked as a repeat
             due ──► inbox                        the session is gone: it stays to be read there
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from clawbus.wire.envelope import Envelope

AnnounceState = Literal["none", "due", "trying", "announced", "answered", "inbox"]
Settled = Literal["announced", "answered", "inbox"]
SentKind = Literal["spawn", "request", "adopted"]
"""`adopted`: the steward gave it in this agent's place."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One task given away."""

    task: Envelope
    session_key: str
    kind: SentKind
    announce: AnnounceState
    result: Envelope | None
    keys: tuple[str, ...]
    """The idempotency keys of all tries to announce the result, oldest first."""
    boot_id: str
    """The gateway process that accepted the last try."""
    group_id: str | None = None
    """Of tasks that were given together, and whose results are announced together."""

    @property
    def task_id(self) -> str:
        return self.task.task_id or ""

    @property
    def repeats(self) -> int:
        return max(0, len(self.keys) - 1)


class SentTable:
    SCHEMA = """
    CREATE TABLE IF NOT EXISTS sent (
        task_id TEXT PRIMARY KEY,
        agent TEXT NOT NULL,
        task BLOB NOT NULL,
        session_key TEXT NOT NULL,
        kind TEXT NOT NULL,
        announce TEXT NOT NULL DEFAULT 'none',
        result BLOB,
        keys TEXT NOT NULL DEFAULT '[]',
        boot_id TEXT NOT NULL DEFAULT '',
        created_at TEXT NOT NULL,
        group_id TEXT
    );
    CREATE INDEX IF NOT EXISTS sent_by_announce ON sent (announce);
    CREATE INDEX IF NOT EXISTS sent_by_agent ON sent (agent, created_at);
    CREATE INDEX IF NOT EXISTS sent_by_group ON sent (group_id);
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, task: Envelope, session_key: str, kind: SentKind, group_id: str | None = None) -> None:
        self._db.execute(
            "INSERT OR IGNORE INTO sent (task_id, agent, task, session_key, kind, created_at, group_id) "
            "VALUES (?,?,?,?,?,?,?)",
            (task.task_id, task.sender, task.encode(), session_key, kind, datetime.now(UTC).isoformat(), group_id),
        )

    def forget(self, task_id: str) -> None:
        """Take back a task that was refused before it reached the bus."""
        self._db.execute("DELETE FROM sent WHERE task_id = ?", (task_id,))

    def get(self, task_id: str) -> Sent | None:
        row = self._db.execute("SELECT * FROM sent WHERE task_id = ?", (task_id,)).fetchone()
        return None if row is None else _sent(row)

    def together_with(self, task_id: str) -> list[Sent]:
        """The task and those that were given together with it, in their order; nothing if it is not known."""
        rows = self._db.execute(
            "SELECT * FROM sent WHERE task_id = ? OR group_id = (SELECT group_id FROM sent WHERE task_id = ?) "
            "ORDER BY rowid",
            (task_id, task_id),
        )
        return [_sent(row) for row in rows]

    def of_agent(self, agent: str, limit: int = 50) -> list[Sent]:
        """The newest first."""
        rows = self._db.execute("SELECT * FROM sent WHERE agent = ? ORDER BY created_at DESC LIMIT ?", (agent, limit))
        return [_sent(row) for row in rows]

    def open_count(self, agent: str, to: str) -> int:
        """The number of tasks of this agent for that receiver that have no result yet."""
        query = "SELECT count(*) FROM sent WHERE agent = ? AND result IS NULL AND CAST(task AS TEXT) ->> '$.to' = ?"
        return int(self._db.execute(query, (agent, to)).fetchone()[0])

    def announced_by(self, session_key: str, run: str) -> Sent | None:
        """The task whose result was brought into a session by that run."""
        query = "SELECT * FROM sent WHERE session_key = ? AND instr(keys, ?)"
        row = self._db.execute(query, (session_key, json.dumps(run))).fetchone() if run else None
        return None if row is None else _sent(row)

    def to_announce(self) -> list[Sent]:
        rows = self._db.execute("SELECT * FROM sent WHERE announce IN ('due', 'trying') ORDER BY created_at")
        return [_sent(row) for row in rows]

    def expired(self, agent: str) -> list[Sent]:
        """Open tasks of this agent whose time is over."""
        rows = self._db.execute("SELECT * FROM sent WHERE agent = ? AND result IS NULL", (agent,))
        at = datetime.now(UTC)
        return [sent for sent in map(_sent, rows) if sent.task.expires_at is not None and sent.task.expires_at < at]

    def took_result(self, task_id: str, result: Envelope) -> bool:
        """Keep a result and mark it due. False if the task has one already: a task has one end."""
        cursor = self._db.execute(
            "UPDATE sent SET result = ?, announce = 'due' WHERE task_id = ? AND result IS NULL",
            (result.encode(), task_id),
        )
        return cursor.rowcount == 1

    def trying(self, task_id: str, keys: tuple[str, ...], boot_id: str) -> None:
        """Before the call into the gateway: what a restart of this node must know to look for it."""
        self._db.execute(
            "UPDATE sent SET announce = 'trying', keys = ?, boot_id = ? WHERE task_id = ?",
            (json.dumps(keys), boot_id, task_id),
        )

    def settled(self, task_id: str, announce: Settled) -> None:
        """The result is where it belongs, or stays in the inbox."""
        self._db.execute("UPDATE sent SET announce = ? WHERE task_id = ?", (announce, task_id))


def _sent(row: sqlite3.Row) -> Sent:
    result = Envelope.model_validate_json(row["result"]) if row["result"] is not None else None
    return Sent(
        Envelope.model_validate_json(row["task"]),
        row["session_key"],
        row["kind"],
        row["announce"],
        result,
        tuple(json.loads(row["keys"])),
        row["boot_id"],
        row["group_id"],
    )
