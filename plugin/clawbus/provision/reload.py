"""Having a running nats-server of ours read its configuration again: new keys count, old ones are shut out.

A connection whose key stays is kept, with its new permissions; one whose key is gone is closed by the server
(docs.nats.io, "Reloading server configuration").
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path

from clawbus.errors import Away, Refused
from clawbus.provision.server import config_file, log_file, pid_file
from clawbus.settings import Home

_WITHIN_S = 10.0
_SAID = re.compile(r"\[(?:INF|ERR)\] (Reloaded server configuration|Failed to reload server configuration: .*)")


def running_server(home: Home) -> int | None:
    """The number of the nats-server that runs with this home's configuration; None if there is none."""
    try:
        pid = int(pid_file(home).read_text())
    except (OSError, ValueError):
        return None
    return pid if str(config_file(home)) in _command_line(pid) else None  # its number may be another's by now


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        if Path("/proc/self").exists():
            return ""
    run = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return run.stdout


async def reload(home: Home) -> bool:
    """Have the server of this home read its configuration again; False if none runs.

    Raises Refused with the server's words, Away if it says nothing about it in time.
    """
    pid = running_server(home)
    if pid is None:
        return False
    log = log_file(home)
    seen = log.stat().st_size if log.exists() else 0
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGHUP)
    try:
        async with asyncio.timeout(_WITHIN_S):
            while (said := _last_word(log, seen)) is None:  # noqa: ASYNC110 - another process: no event to wait for
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise Away(f"nats-server (pid {pid}) has not reloaded its configuration", f"Its log is {log}.") from None
    if said.startswith("Failed"):
        raise Refused(f"nats-server: {said}", f"It goes on with what it had. Its configuration is {config_file(home)}.")
    return True


def _last_word(log: Path, since_bytes: int) -> str | None:
    """What the server has said of a reload since its log had that size."""
    with contextlib.suppress(OSError), log.open("rb") as stream:
        stream.seek(since_bytes if log.stat().st_size >= since_bytes else 0)  # it begins anew when it is full
        found = _SAID.findall(stream.read().decode("utf-8", "replace"))
        return str(found[-1]) if found else None
    return None
