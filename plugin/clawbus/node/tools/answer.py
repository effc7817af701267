"""A tool call and its answer, as all tools know them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Caller:
    """The agent and session that call: the gateway says so, never the parameters."""

    agent: str
    session_key: str
    workspace: str = ""
    """The folder in which the session works; empty where an older shim does not say it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a call, for the model (`text`) and for programs (`data`)."""

    ok: bool
    text: str
    data: dict[str, Any] = field(default_factory=dict)
    handed_over: Callable[[bool], Awaitable[None]] | None = None
    """Called when the caller has the answer (True), or could not be given it (False)."""


def where(on_bus: bool, word: str, away: str) -> str:
    """Says in words if the bus has it. `away`: the reason if it has not (`Outbox.away`)."""
    return word if on_bus else f"{word} here; {away}, and it goes out by itself when that is over"
