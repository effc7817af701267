"""The pid files and the lock of a home. By them the next `clawbus up` ends what a killed one has left running.

A pid alone proves nothing, since the system uses it again. So a record also has the time at which its process began.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from clawbus.errors import Refused
from clawbus.settings import write_secret

LEFTOVER_STOP_S = 5.0
_DYING_S = 10.0
_LOCK = "up.lock"


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """A process as its pid file has it. `began`: the value of `began_at` when it was started."""

    name: str
    pid: int
    began: str
    file: Path

    @property
    def alive(self) -> bool:
        """True if that process still runs, and not another one under its pid."""
        return began_at(self.pid) == self.began


def began_at(pid: int) -> str | None:
    """The time at which a process began, only for comparison; None if there is no such process, or only a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None if Path("/proc/self").exists() else _began_by_ps(pid)
    return None if fields[0] == "Z" else f"{boot}/{fields[19]}"


def _began_by_ps(pid: int) -> str | None:
    """The same on a system without /proc (macOS)."""
    run = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return run.stdout.strip() or None


def write(folder: Path, name: str, pid: int) -> Path:
    """Write the pid file of a process that was just started. Returns its path."""
    file = folder / f"{name}.pid"
    write_secret(file, json.dumps({"pid": pid, "began": began_at(pid) or "gone"}))
    return file


def read_all(folder: Path) -> list[ProcessRecord]:
    """The records of a folder, the last started first. A file that cannot be read is left out."""
    files = sorted(folder.glob("*.pid"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
    found = []
    for file in files:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            data = json.loads(file.read_text())
            found.append(ProcessRecord(file.stem, int(data["pid"]), str(data["began"]), file))
    return found


async def end_leftovers(folder: Path, stop_s: float = LEFTOVER_STOP_S) -> list[ProcessRecord]:
    """End the processes that an earlier supervisor has left running, with their groups. Removes all pid files.

    Returns what was ended. It may hold its ports a moment longer: the threads of a process die one after the other.
    """
    records = read_all(folder)
    running = [record for record in records if record.alive]
    for record in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.pid, signal.SIGTERM)
    limit = time.monotonic() + stop_s
    while any(record.alive for record in running) and time.monotonic() < limit:  # noqa: ASYNC110 - another process: no event to wait for
        await asyncio.sleep(0.02)
    for record in running:
        kill_group(record.pid)
    while any(record.alive for record in running):  # noqa: ASYNC110 - another process: no event to wait for
        await asyncio.sleep(0.02)
    for record in records:
        record.file.unlink(missing_ok=True)
    return running


def kill_group(leader: int) -> None:
    """Send SIGKILL to a process that leads its group, and to all others in the group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def holder(folder: Path) -> int | None:
    """The pid of the process that holds the folder's lock; None if none does."""
    try:
        with (folder / _LOCK).open("r") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(stream.read().strip())
    except (OSError, ValueError):
        pass
    return None


def _locked(stream: IO[str]) -> bool:
    """Take the lock. False if another process has it."""
    # A process that was killed just now releases it when its last thread ends.
    limit = time.monotonic() + _DYING_S
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            pid = stream.read().strip()
            if not pid.isdigit() or began_at(int(pid)) is not None or time.monotonic() > limit:
                return False
            time.sleep(0.02)
        else:
            return True


def take_lock(folder: Path) -> IO[str]:
    """Take the folder's lock, until the file is closed or this process ends. Raises Refused if another has it."""
    stream = (folder / _LOCK).open("a+")
    if not _locked(stream):
        stream.seek(0)
        holder = stream.read().strip() or "unknown"
        stream.close()
        raise Refused(
            f"clawbus already runs for this company (pid {holder}, lock {folder / _LOCK})",
            f"End it with Ctrl-C in its terminal, or: kill {holder}",
        )
    stream.truncate(0)
    stream.write(str(os.getpid()))
    stream.flush()
    return stream
