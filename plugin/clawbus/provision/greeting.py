"""Which kind of port answers at an address: nats-server speaks first, and its INFO line gives the port away.

A port for clients tells the caller his own address (`client_ip`), one for leaves never does; both number him
(`client_id`), and the ports on which servers of a cluster meet do not. Seen on nats-server 2.15.1, whose leaves look at
such fields, too, and say no more than "attempted to connect to wrong port", again and again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from enum import Enum

_WITHIN_S = 2.0
_LONGEST_BYTES = 64 * 1024


class Port(Enum):
    """What answers. `SILENT`: somebody took the call and did not greet as a nats-server; `NOBODY`: no one took it."""

    LEAVES = "leaves"
    CLIENTS = "clients"
    SERVERS = "servers"
    SILENT = "silent"
    NOBODY = "nobody"


async def who_answers(host: str, port: int) -> Port:
    """Call there and look at the greeting, which comes before any encryption. Nothing is sent."""
    try:
        async with asyncio.timeout(_WITHIN_S):
            reader, writer = await asyncio.open_connection(host, port, limit=_LONGEST_BYTES)
    except (OSError, TimeoutError):
        return Port.NOBODY
    try:
        async with asyncio.timeout(_WITHIN_S):
            return kind_of(await reader.readline())
    except (OSError, TimeoutError, ValueError):
        return Port.SILENT
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def kind_of(line: bytes) -> Port:
    """The kind of port that greets with this line."""
    word, _, rest = line.partition(b" ")
    try:
        said = json.loads(rest) if word == b"INFO" else None
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        return Port.SILENT
    if "client_ip" in said:
        return Port.CLIENTS
    return Port.LEAVES if "client_id" in said else Port.SERVERS
