"""Bringing the ledger of an older clawbus to what this one reads, in one transaction."""

from __future__ import annotations

import sqlite3

VERSION = 4
"""1: mail by its id alone. 2: mail by id and agent, numbered here; groups of tasks; turns for mail.
3: tasks as they were signed. 4: of a sub-agent the turn that has spawned it."""

_FROM_1 = (
    "DROP INDEX IF EXISTS mail_by_agent",
    "ALTER TABLE mail RENAME TO mail_1",
    """
    CREATE TABLE mail (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, agent TEXT NOT NULL, channel TEXT NOT NULL,
        asks TEXT NOT NULL, rank INTEGER NOT NULL, seq INTEGER NOT NULL, envelope BLOB NOT NULL, state TEXT NOT NULL,
        ack_subject TEXT NOT NULL, wake INTEGER, received_at TEXT NOT NULL, UNIQUE (id, agent)
    )
    """,
    # Its old number was that of the stream: a model may have read it. What lay unread then waits to be read.
    """
    INSERT INTO mail (number, id, agent, channel, asks, rank, seq, envelope, state, ack_subject, received_at)
    SELECT seq, id, agent, 'dm', 'never', 2, seq, envelope, state, ack_subject, received_at FROM mail_1
    """,
    "DROP TABLE mail_1",
    "ALTER TABLE sent ADD COLUMN group_id TEXT",
)
_FROM_2 = ("ALTER TABLE runs ADD COLUMN signed TEXT NOT NULL DEFAULT '{}'",)
_FROM_3 = ("DROP TABLE IF EXISTS descents",)  # the gateway says it again, with the time that tells the turn


def migrate(db: sqlite3.Connection, version: int) -> None:
    """From `version` (0: a new file) to VERSION. Call it before the tables are made."""
    if not 1 <= version < VERSION:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        for statement in (*(_FROM_1 if version < 2 else ()), *(_FROM_2 if version < 3 else ()), *_FROM_3):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {VERSION}")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
