"""Files that an agent has attached to the task that it works on: they leave with its result."""

from __future__ import annotations

import sqlite3

from clawbus.wire.envelope import Artifact


class AttachedTable:
    SCHEMA = """
    CREATE TABLE IF NOT EXISTS attached (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        task_id TEXT NOT NULL,
        name TEXT NOT NULL,
        artifact TEXT NOT NULL,
        UNIQUE (task_id, name)
    );
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, task_id: str, artifact: Artifact) -> None:
        """Attach a file; a later one of the same name takes its place."""
        self._db.execute(
            "INSERT INTO attached (task_id, name, artifact) VALUES (?, ?, ?) "
            "ON CONFLICT (task_id, name) DO UPDATE SET artifact = excluded.artifact",
            (task_id, artifact.name, artifact.model_dump_json(by_alias=True, exclude_none=True)),
        )

    def of(self, task_id: str) -> tuple[Artifact, ...]:
        """In the order in which they were first attached."""
        rows = self._db.execute("SELECT artifact FROM attached WHERE task_id = ? ORDER BY number", (task_id,))
        return tuple(Artifact.model_validate_json(row["artifact"]) for row in rows)

    def drop(self, task_id: str) -> None:
        """They are not to leave with it."""
        self._db.execute("DELETE FROM attached WHERE task_id = ?", (task_id,))

    def prune(self) -> None:
        """Forget those of tasks that are forgotten."""
        self._db.execute("DELETE FROM attached WHERE task_id NOT IN (SELECT task_id FROM runs)")
