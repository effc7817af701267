"""A tool call and its answer, as all tools know them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the gateway says so, never the parameters."""

    agent: str
    session_key: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the model (`text`) and to programs (`data`)."""

    ok: bool
    text: str
    data: dict[str, Any] = field(default_factory=dict)
    handed_over: Callable[[bool], Awaitable[None]] | None = None
    """Called when the caller has the answer (True), or could not be given it (False)."""
