"""Ports: which are free on this machine, which process holds one, and which kind of server answers at an address."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
import time
from collections.abc import Collection
from enum import Enum
from pathlib import Path

from clawbus.errors import Missing

LOOPBACK = "127.0.0.1"
_DYING_S = 10.0
_GREETING_S = 2.0
_LONGEST_GREETING_BYTES = 64 * 1024
_LISTEN = "0A"  # the state of a listening socket in /proc/net/tcp


def port_free(host: str, port: int) -> bool:
    """True if a server could listen on host:port now. Connections that are still closing do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


async def wait_for_port(port: int, ended: Collection[int], host: str = LOOPBACK, within_s: float = _DYING_S) -> None:
    """Wait until none of the processes that were `ended` just now holds a port. `ended`: numbers, also of groups.

    It returns at once where another program holds the port, and after `within_s`: the caller looks at the port itself.
    """
    limit = time.monotonic() + within_s
    with contextlib.suppress(OSError):  # an address that this machine does not have: the caller reports it
        while ended and not port_free(host, port) and time.monotonic() < limit:
            pid = _pid_of(port)
            if pid is not None and not _is_one_of(pid, ended):
                return
            await asyncio.sleep(0.05)


def _is_one_of(pid: int, ended: Collection[int]) -> bool:
    try:
        return pid in ended or os.getpgid(pid) in ended
    except ProcessLookupError:  # it has gone meanwhile
        return True


def refuse_taken_port(field: str, port: int, org_file: Path | None = None, host: str = LOOPBACK) -> None:
    """Raise Missing if nobody could listen on host:port now. `field` is the port's place in org.toml (`bus.port`)."""
    try:
        if port_free(host, port):
            return
    except OSError as error:
        problem = f"bus.listen = {host}: this machine cannot listen there ({error.strerror})"
        where = f"under [bus] in {org_file or 'org.toml'}"
        raise Missing(problem, f"Write an address that it has {where}, or 0.0.0.0 and `hosts`.") from None
    holder = holder_of(port)
    by = f" by {holder}" if holder else ""
    table, _, key = field.rpartition(".")
    raise Missing(
        f"{field} = {port}: the port is in use{by}",
        f"End that program, or change the line `{key} = {port}` under `{table}` in {org_file or 'org.toml'} "
        "to a port that is free.",
    )


def holder_of(port: int) -> str | None:
    """The process that listens on a port of the loopback or of all addresses: `nats-server (pid 123)`.

    None where it is not known: on a system without /proc, or for another user's process.
    """
    pid = _pid_of(port)
    try:
        return f"{Path(f'/proc/{pid}/comm').read_text().strip()} (pid {pid})" if pid else None
    except OSError:
        return None


def _pid_of(port: int) -> int | None:
    """The number of the process that listens on a port, where that can be known."""
    with contextlib.suppress(OSError):
        inodes = _listening(port)
        for process in Path("/proc").iterdir():
            if process.name.isdigit() and _has_socket(process, inodes):
                return int(process.name)
    return None


def _listening(port: int) -> set[str]:
    inodes = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    return inodes


def _has_socket(process: Path, inodes: set[str]) -> bool:
    if not inodes:
        return False
    try:
        return any(str(link.readlink()) in inodes for link in (process / "fd").iterdir())
    except OSError:  # another user's, or it has just ended
        return False


# -- the greeting of a nats-server ---------------------------------------------------------------------------------


class Port(Enum):
    """The kind of port that answers.

    nats-server speaks first, and its INFO line gives the port away. A port for clients tells the caller its own address
    (`client_ip`), one for leaves never does; both number it (`client_id`), and the ports on which servers of a cluster
    meet do not. Seen on nats-server 2.15.1, whose leaves look at such fields, too, and say no more than "attempted to
    connect to wrong port", again and again.

    `SILENT`: something took the call and did not greet as a nats-server; `NOBODY`: nothing took it.
    """

    LEAVES = "leaves"
    CLIENTS = "clients"
    SERVERS = "servers"
    SILENT = "silent"
    NOBODY = "nobody"


async def who_answers(host: str, port: int) -> Port:
    """Call there and look at the greeting, which comes before any encryption. Nothing is sent."""
    try:
        async with asyncio.timeout(_GREETING_S):
            reader, writer = await asyncio.open_connection(host, port, limit=_LONGEST_GREETING_BYTES)
    except (OSError, TimeoutError):
        return Port.NOBODY
    try:
        async with asyncio.timeout(_GREETING_S):
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
        info = json.loads(rest) if word == b"INFO" else None
    except (ValueError, RecursionError):
        info = None
    if not isinstance(info, dict):
        return Port.SILENT
    if "client_ip" in info:
        return Port.CLIENTS
    return Port.LEAVES if "client_id" in info else Port.SERVERS
