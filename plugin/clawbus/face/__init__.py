"""The Python face: start tasks, wait for them, read and send messages as a person; do an agent's tasks in a program.

Programs import these names from `clawbus` itself (docs/python.md).
"""

from clawbus.errors import Away, BacklogFull, ClawbusError, InvalidInput, NotFound, Refused
from clawbus.face.client import Client, connect
from clawbus.face.serving import serve
from clawbus.face.values import Message, Result, Task

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
