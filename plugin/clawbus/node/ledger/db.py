"""The file: schema, durability, and the tables as objects.

`synchronous=FULL` with a write-ahead log: a committed row survives a power loss (sqlite.org/pragma.html). The
calls are synchronous: a commit is one fsync, and a gateway makes a few dozen of them in a minute.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from clawbus.errors import Missing
from clawbus.gateway import SessionKey
from clawbus.node.ledger.attached import AttachedTable
from clawbus.node.ledger.blockers import BlockerTable
from clawbus.node.ledger.breakers import BreakerTable
from clawbus.node.ledger.interrupted import InterruptedTable
from clawbus.node.ledger.mail import MailTable
from clawbus.node.ledger.outgoing import OutgoingTable
from clawbus.node.ledger.runs import RunTable
from clawbus.node.ledger.sent import SentTable
from clawbus.node.ledger.spawned_sessions import SpawnedSessionTable
from clawbus.node.ledger.sqlite_file import open_database
from clawbus.node.ledger.steers import SteerTable
from clawbus.node.ledger.wakes import WakeTable
from clawbus.wire.envelope import Envelope

_VERSION = 4
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


class Ledger:
    """An open ledger. Close it, or use it as a context manager."""

    def __init__(self, path: Path) -> None:
        """Open `path`, making it (mode 600) where it is missing.

        Raises Missing if a newer clawbus wrote it; DiskFull, as every write does.
        """
        self.folder = path.parent
        self.begun: dict[str, str] = {}
        """By session the run that the bus has begun there and that is not over; not kept."""
        try:
            self._db = open_database(path)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.DatabaseError as error:
            raise Missing(
                f"the ledger {path} cannot be used: {error}",
                "Move it away; tasks that it held run again when their lease is over.",
            ) from None
        if version > _VERSION:
            raise Missing(
                f"the ledger {path} is of version {version}; this clawbus reads {_VERSION}",
                "Use the newer clawbus that wrote it.",
            )
        _migrate(self._db, version)
        self.outbox = OutgoingTable(self._db)
        self.sent = SentTable(self._db)
        self.runs = RunTable(self._db)
        self.mail = MailTable(self._db)
        self.wakes = WakeTable(self._db)
        self.steers = SteerTable(self._db)
        self.raised = BlockerTable(self._db)
        self.attached = AttachedTable(self._db)
        self.breakers = BreakerTable(self._db)
        self.cut = InterruptedTable(self._db)
        self.spawned_sessions = SpawnedSessionTable(self._db)
        tasks = (self.sent, self.runs, self.steers, self.attached, self.breakers)
        for table in (*tasks, self.outbox, self.mail, self.wakes, self.raised, self.cut, self.spawned_sessions):
            self._db.executescript(table.SCHEMA)
        self._db.execute(f"PRAGMA user_version={_VERSION}")

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """All writes of the block as one commit: they are there together after a crash, or none is."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # a full disk may have ended it already
                self._db.execute("ROLLBACK")
            raise

    def cause(self, session_key: str) -> Envelope | None:
        """The task that began a session's turn, or the message that was passed on most; None for any other turn.

        A task in whose session mail has been heard since has been passed on as often as that. What a sub-agent does is
        done for the turn that has spawned it.
        """
        descent = self.spawned_sessions.of(session_key)
        session_key = descent.root if descent is not None else session_key
        key = SessionKey.of_bus(session_key)
        if key is None:
            return self._after_result(session_key)
        run = self.runs.get(key.id or "")
        task = run.task if run is not None and run.session_key == session_key else None
        wake = descent.wake if descent is not None else self.wakes.latest(session_key)
        mails = [mail.envelope for mail in self.mail.of_wake(wake)] if wake is not None else []
        latest = max(mails, key=lambda envelope: envelope.hops, default=None)
        if task is None or latest is None:
            return task or latest
        return task.model_copy(update={"hops": min(64, max(task.hops, latest.hops + 1))})

    def _after_result(self, session_key: str) -> Envelope | None:
        """In a user's session: the task whose result has begun the turn that runs there. Its tree goes on.

        What is given then is no deeper in it than that task was; in a turn of the user a new tree begins.
        """
        sent = self.sent.announced_by(session_key, self.begun.get(session_key, ""))
        if sent is None:
            return None
        return sent.task.model_copy(update={"type": "message", "path": (), "hops": max(0, sent.task.hops - 1)})

    def without_files(self, task_id: str, outcome: Envelope) -> None:
        """A person does not let a report out: another outcome takes its place, and takes none of the files along."""
        with self.together():
            self.attached.drop(task_id)
            self.runs.advance(task_id, "replied", outcome)

    def prune(self, days: int = 60) -> None:
        """Forget what was over that long ago: longer than any stream keeps a message that could come again."""
        before = (datetime.now(UTC) - timedelta(days=days)).isoformat()
        self._db.execute("DELETE FROM runs WHERE state = 'closed' AND updated_at < ?", (before,))
        self._db.execute("DELETE FROM mail WHERE state IN ('acked', 'shown') AND received_at < ?", (before,))
        self._db.execute("DELETE FROM mail WHERE channel != 'dm' AND received_at < ?", (before,))  # read or not
        self._db.execute("DELETE FROM raised WHERE created_at < ?", (before,))
        self._db.execute("DELETE FROM wakes WHERE state != 'due' AND created_at < ?", (before,))
        self.steers.prune(before)
        self.cut.prune(before)
        self.spawned_sessions.prune(before)
        self.attached.prune()
        settled = "announce IN ('announced', 'answered', 'inbox')"
        self._db.execute(f"DELETE FROM sent WHERE {settled} AND created_at < ?", (before,))  # noqa: S608 - a constant

    def leave(self, present: Collection[str]) -> None:
        """Forget what is held here for agents that are not `present` any more: their backlog has been dealt with.

        A turn of theirs that was started stays, to be stopped.
        """
        marks, names = ",".join("?" * len(present)), tuple(present)
        with self.together():
            for table, whose, which in (
                ("runs", "worker", "state NOT IN ('started', 'closed')"),
                ("mail", "agent", "state NOT IN ('acked', 'shown')"),
                ("wakes", "agent", "state = 'due'"),
            ):
                self._db.execute(f"DELETE FROM {table} WHERE {whose} NOT IN ({marks}) AND {which}", names)  # noqa: S608 - constants
            due = f"UPDATE sent SET announce = 'inbox' WHERE agent NOT IN ({marks}) AND announce IN ('due', 'trying')"  # noqa: S608
            self._db.execute(due, names)

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _migrate(db: sqlite3.Connection, version: int) -> None:
    """From `version` (0: a new file) to _VERSION. Call it before the tables are made."""
    if not 1 <= version < _VERSION:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        for statement in (*(_FROM_1 if version < 2 else ()), *(_FROM_2 if version < 3 else ()), *_FROM_3):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {_VERSION}")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
