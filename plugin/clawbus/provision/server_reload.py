"""Having a running nats-server of ours read its certificate again; no connection is lost by it.

The server reads its files again on SIGHUP (docs.nats.io, "Reloading server configuration").
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from clawbus.provision.config import config_file, pid_file
from clawbus.settings import Home


def reread(home: Home) -> bool:
    """Have the server of this home read its files again; False if none runs."""
    pid = running_server(home)
    if pid is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGHUP)
    return True


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
