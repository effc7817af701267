"""clawbus puts every OpenClaw gateway of a company of AI agents on NATS JetStream.

For programs (docs/python.md): `connect` speaks as a person, `serve` does an agent's tasks. A name's module is imported
when the name is first used (PEP 562): `import clawbus` costs nothing, and `connect` loads no node.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from clawbus.client.client import Client, connect
    from clawbus.client.serve import serve
    from clawbus.client.values import Message, Result, Task
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
_MODULES = {
    "clawbus.client.client": ("Client", "connect"),
    "clawbus.client.serve": ("serve",),
    "clawbus.client.values": ("Message", "Result", "Task"),
    "clawbus.errors": ("Away", "BacklogFull", "ClawbusError", "InvalidInput", "NotFound", "Refused"),
}


def __getattr__(name: str) -> object:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'clawbus' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
