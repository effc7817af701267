"""Whether a port of this machine is free, and who holds it if it is not."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import time
from collections.abc import Collection
from pathlib import Path

from clawbus.errors import Missing

LOOPBACK = "127.0.0.1"
_DYING_S = 10.0
_LISTEN = "0A"  # the state of a listening socket in /proc/net/tcp


def port_free(host: str, port: int) -> bool:
    """Whether a server could listen on host:port now. Connections that are still closing do not count."""
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
    """Until nobody holds a port who was `ended` just now; these are numbers of processes, or of their groups.

    It returns at once where a program holds it that is none of them, and after `within_s`: who calls looks himself.
    """
    limit = time.monotonic() + within_s
    with contextlib.suppress(OSError):  # an address that this machine does not have: said by who looks
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
    """Who listens on a port of the loopback or of all addresses: `nats-server (pid 123)`.

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
