"""The Python face: start tasks, wait for them, read and send messages as a person; do an agent's tasks in a program.

Programs import these names from `clawbus` itself (docs/python.md).
"""

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
