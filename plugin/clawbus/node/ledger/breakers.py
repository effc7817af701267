"""The ends of an agent's last tasks for each receiver: a breaker must know them after a restart.

closed ──► open ──► half (one is let through) ──► closed, or open again
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edge:
    """From an agent to whom it gives tasks. `until_s`: until when none is sent, in seconds since 1970; 0: it is closed.

    `last`: the task that was counted last, so that none is counted twice.
    """

    failures: int = 0
    why: str = ""
    until_s: float = 0.0
    last: str = ""


class BreakerTable:
    SCHEMA = """
    CREATE TABLE IF NOT EXISTS breakers (
        agent TEXT NOT NULL,
        receiver TEXT NOT NULL,
        failures INTEGER NOT NULL,
        why TEXT NOT NULL,
        until_s REAL NOT NULL,
        last TEXT NOT NULL,
        PRIMARY KEY (agent, receiver)
    );
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def get(self, agent: str, receiver: str) -> Edge:
        query = "SELECT failures, why, until_s, last FROM breakers WHERE agent = ? AND receiver = ?"
        row = self._db.execute(query, (agent, receiver)).fetchone()
        return Edge() if row is None else Edge(int(row[0]), row[1], float(row[2]), row[3])

    def put(self, agent: str, receiver: str, edge: Edge) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO breakers (agent, receiver, failures, why, until_s, last) VALUES (?, ?, ?, ?, ?, ?)",
            (agent, receiver, edge.failures, edge.why, edge.until_s, edge.last),
        )
