"""Tasks that agents of this gateway have taken, and how far each has come.

    held ──► started ──► replied ──► ended ──► told ──► closed
      └──────────┴─────────────────────▲
       the task had an end already      the end is on the bus; then the requester is told; then the task is acked

A crash after any arrow is completed at the next start from the state that stands here.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from clawbus.gateway import bus_session
from clawbus.wire.envelope import Envelope

RunState = Literal["held", "started", "replied", "ended", "told", "closed"]
OPEN: tuple[RunState, ...] = ("held", "started", "replied", "ended", "told")


@dataclass(frozen=True, slots=True)
class Run:
    """One task that was taken."""

    task: Envelope
    worker: str
    state: RunState
    ack_subject: str
    attempt: int
    """Attempts started so far; each but a running one was a strike."""
    key: str
    """The idempotency key of the latest attempt: the gateway's run id."""
    boot_id: str
    """The gateway process in which the latest attempt was started."""
    outcome: Envelope | None
    """From `replied` on: what this node wants the end to be; from `ended` on: what the end is."""
    signed: dict[str, str] = field(default_factory=dict)
    """The task as it came, with its signature: for its dead letter."""

    @property
    def task_id(self) -> str:
        return self.task.task_id or ""

    @property
    def session_key(self) -> str:
        return bus_session(self.worker, self.task_id)


class RunTable:
    SCHEMA = """
    CREATE TABLE IF NOT EXISTS runs (
        task_id TEXT PRIMARY KEY,
        worker TEXT NOT NULL,
        task BLOB NOT NULL,
        state TEXT NOT NULL,
        ack_subject TEXT NOT NULL,
        attempt INTEGER NOT NULL DEFAULT 0,
        key TEXT NOT NULL DEFAULT '',
        boot_id TEXT NOT NULL DEFAULT '',
        outcome BLOB,
        updated_at TEXT NOT NULL,
        signed TEXT NOT NULL DEFAULT '{}'
    );
    CREATE INDEX IF NOT EXISTS runs_by_state ON runs (state);
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def get(self, task_id: str) -> Run | None:
        row = self._db.execute("SELECT * FROM runs WHERE task_id = ?", (task_id,)).fetchone()
        return None if row is None else _run(row)

    def unfinished(self) -> list[Run]:
        marks = ",".join("?" * len(OPEN))
        rows = self._db.execute(f"SELECT * FROM runs WHERE state IN ({marks}) ORDER BY updated_at", OPEN)  # noqa: S608
        return [_run(row) for row in rows]

    def load(self) -> dict[str, int]:
        """The number of tasks that each agent has in hand."""
        marks = ",".join("?" * len(OPEN))
        rows = self._db.execute(f"SELECT worker, count(*) FROM runs WHERE state IN ({marks}) GROUP BY worker", OPEN)  # noqa: S608
        return {row[0]: int(row[1]) for row in rows}

    def hold(
        self, task: Envelope, worker: str, ack_subject: str, attempt: int = 0, signed: dict[str, str] | None = None
    ) -> None:
        """A task was taken. A second delivery of it only brings a newer ack subject.

        `attempt`: strikes that it has already, with others who had taken it before. `signed`: as it came.
        """
        self._db.execute(
            "INSERT INTO runs (task_id, worker, task, state, ack_subject, attempt, updated_at, signed) VALUES "
            "(?, ?, ?, 'held', ?, ?, ?, ?) ON CONFLICT (task_id) DO UPDATE SET ack_subject = excluded.ack_subject",
            (task.task_id, worker, task.encode(), ack_subject, attempt, _now(), json.dumps(signed or {})),
        )

    def forget(self, task_id: str) -> None:
        """Another member of its group has the task now: if it ever comes here again, it comes anew."""
        self._db.execute("DELETE FROM runs WHERE task_id = ?", (task_id,))

    def starting(self, task_id: str, key: str, boot_id: str) -> int:
        """One more attempt, written before the call into the gateway. Returns its number, from 1."""
        self._db.execute(
            "UPDATE runs SET state = 'started', attempt = attempt + 1, key = ?, boot_id = ?, updated_at = ? "
            "WHERE task_id = ?",
            (key, boot_id, _now(), task_id),
        )
        return int(self._db.execute("SELECT attempt FROM runs WHERE task_id = ?", (task_id,)).fetchone()[0])

    def began(self, task_id: str) -> datetime | None:
        """When the latest attempt was started, None if none runs."""
        query = "SELECT updated_at FROM runs WHERE task_id = ? AND state = 'started'"
        row = self._db.execute(query, (task_id,)).fetchone()
        return datetime.fromisoformat(row[0]) if row is not None else None

    def not_started(self, task_id: str) -> None:
        """The gateway refused the call: the attempt did not happen and is no strike."""
        self._db.execute(
            "UPDATE runs SET state = 'held', attempt = attempt - 1, key = '' WHERE task_id = ? AND state = 'started'",
            (task_id,),
        )

    def advance(self, task_id: str, state: RunState, outcome: Envelope | None = None) -> None:
        """The next state; `outcome` is kept where it is given."""
        data = outcome.encode() if outcome is not None else None
        self._db.execute(
            "UPDATE runs SET state = ?, outcome = coalesce(?, outcome), updated_at = ? WHERE task_id = ?",
            (state, data, _now(), task_id),
        )


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _run(row: sqlite3.Row) -> Run:
    outcome = Envelope.model_validate_json(row["outcome"]) if row["outcome"] is not None else None
    return Run(
        Envelope.model_validate_json(row["task"]),
        row["worker"],
        row["state"],
        row["ack_subject"],
        row["attempt"],
        row["key"],
        row["boot_id"],
        outcome,
        json.loads(row["signed"]),
    )
