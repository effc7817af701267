"""clawbus puts every OpenClaw gateway of a company of AI agents on NATS JetStream.

For programs (docs/python.md): `connect` speaks as a person, `serve` does an agent's tasks. What they need is imported
when it is first asked for, so that `import clawbus` costs nothing (PEP 562).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from clawbus.version import __version__ as __version__

if TYPE_CHECKING:
    from clawbus.client import Client, Message, Result, Task, connect, serve
    from clawbus.errors import Away, BacklogFull, ClawbusError, InvalidInput, NotFound, Refused


__all__ = [
    "Away",
    "BacklogFull",
    "ClawbusError",
    "Client",
    "InvalidInput",
    "Message",
    "NotFound",
    "Refused",
    "Result",
    "Task",
    "connect",
    "serve",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'clawbus' has no attribute {name!r}")
    return getattr(importlib.import_module("clawbus.client"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
