"""Keys of OpenClaw's sessions, `agent:<agent>:<kind>:<id>` (OpenClaw docs/concepts/session)."""

from __future__ import annotations

from dataclasses import dataclass

_BUS = "nats"
"""The kind of the sessions that the bus begins."""


@dataclass(frozen=True, slots=True)
class SessionKey:
    """The key of one session. `str` writes it; `id` is None for a session such as `agent:<agent>:main`."""

    agent: str
    kind: str
    id: str | None = None

    @classmethod
    def parse(cls, text: str) -> SessionKey | None:
        """Read a key, in whatever case its first word is. None for one of another form, such as `global`."""
        first, *rest = text.split(":", 3)
        return cls(*rest) if first.casefold() == "agent" and len(rest) >= 2 else None

    @classmethod
    def of_bus(cls, text: str) -> SessionKey | None:
        """Read a key. None if it is not that of a session which the bus has begun."""
        key = cls.parse(text)
        is_ours = key is not None and key.kind == _BUS and key.id is not None and str(key) == text
        return key if is_ours else None

    def __str__(self) -> str:
        return f"agent:{self.agent}:{self.kind}" + ("" if self.id is None else f":{self.id}")


def bus_session(agent: str, name: str) -> str:
    """The key of a session of the bus: `name` is a task's id, `digest`, `out`, or `from-` and a sender."""
    return str(SessionKey(agent, _BUS, name))
