"""The environment's variables and the places of files. No other module reads the environment.

Variables: CLAWBUS_NATS_SERVER (a nats-server binary), CLAWBUS_OPENCLAW (an openclaw.mjs or openclaw program),
CLAWBUS_HUB (the hub that a leaf dials), CLAWBUS_CACHE (instead of ~/.cache/clawbus), XDG_CACHE_HOME, and the provider
keys that OpenClaw itself reads.
"""

from __future__ import annotations

import hashlib
import os
import resource
import stat
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from clawbus.errors import Missing, NotFound, Refused

NATS_SERVER_VAR = "CLAWBUS_NATS_SERVER"
OPENCLAW_VAR = "CLAWBUS_OPENCLAW"
HUB_VAR = "CLAWBUS_HUB"
_PROVIDER_KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "OPENROUTER_API_KEY")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
_PAST_PROXIES = ("NO_PROXY", "no_proxy")  # some programs read the first, some the second
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PASS_ON = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    *_PROXIES,
)
_KEY_NAMES = {"google": "GEMINI_API_KEY"}
_MAX_SOCKET_PATH = 100  # sun_path holds 108 bytes on Linux, 104 on macOS
_PACKAGE = Path(__file__).resolve().parent
_ASSETS = {"openclaw": "plugin/openclaw", "skills": "skills", "souls": "souls", "examples": "examples"}
"""The folder of each asset in a clone. pyproject.toml takes them from there when it builds the wheel."""


def variable(name: str) -> str | None:
    """The value of an environment variable, None if it is unset or empty."""
    return os.environ.get(name) or None


def cache_dir() -> Path:
    """The folder for OpenClaw and npm's cache. Nothing else is kept outside of a company's folder."""
    own = variable("CLAWBUS_CACHE")
    if own:
        return Path(own)
    return Path(variable("XDG_CACHE_HOME") or Path.home() / ".cache") / "clawbus"


def asset_folder(name: str) -> Path:
    """The folder `openclaw`, `skills`, `souls` or `examples`: of the wheel, else of the clone.

    Raises NotFound for another name, Missing if the installation lacks it.
    """
    if name not in _ASSETS:
        raise NotFound(f"there is no asset {name!r}", f"There are: {', '.join(_ASSETS)}.")
    for path in (_PACKAGE / "assets" / name, _PACKAGE.parents[1] / _ASSETS[name]):
        if path.is_dir():
            return path
    raise Missing(
        f"this installation of clawbus lacks its {name} folder",
        "Install it again: pip install --force-reinstall clawbus",
    )


def provider_keys() -> list[str]:
    """The names of the model providers' keys that are set; never their values."""
    return [name for name in _PROVIDER_KEYS if variable(name)]


def child_environment(**more: str) -> dict[str, str]:
    """The environment of a child process: paths, locale, proxies, and `more`. No key and nothing else gets in."""
    return {name: os.environ[name] for name in _PASS_ON if name in os.environ} | past_proxies() | more


def past_proxies() -> dict[str, str]:
    """NO_PROXY of a child: the user's, and the loopback, on which bus, gateways and scripted model listen."""
    named = [host.strip() for name in _PAST_PROXIES for host in os.environ.get(name, "").split(",")]
    hosts = ["*"] if "*" in named else [*filter(None, named), *_LOOPBACK]  # a star counts only if it stands alone
    return dict.fromkeys(_PAST_PROXIES, ",".join(dict.fromkeys(hosts)))


def keys_of(providers: Iterable[str]) -> dict[str, str]:
    """The variables that hold the keys of these model providers, as OpenClaw reads them, if they are set."""
    return {name: os.environ[name] for name in map(key_name, providers) if name in os.environ}


def key_name(provider: str) -> str:
    """The variable in which OpenClaw looks for a model provider's key: <PROVIDER>_API_KEY."""
    return _KEY_NAMES.get(provider) or f"{provider.upper().replace('-', '_')}_API_KEY"


def user_environment(**more: str) -> dict[str, str]:
    """The whole environment and `more`, for the user's own openclaw: it may name the gateway."""
    return dict(os.environ) | past_proxies() | more


def npm_environment() -> dict[str, str]:
    """The environment of npm: paths, proxies and npm's settings (registry, certificates); no provider key."""
    own = {name: value for name, value in os.environ.items() if name.lower().startswith("npm_config_")}
    return {name: os.environ[name] for name in (*_PASS_ON, "HOME") if name in os.environ} | past_proxies() | own


@dataclass(frozen=True, slots=True)
class Home:
    """The folder `.clawbus` beside a company's org.toml. It has everything that clawbus writes for the company."""

    root: Path

    @classmethod
    def beside(cls, org_file: Path) -> Home:
        return cls(org_file.resolve().parent / ".clawbus")

    def dir(self, *parts: str) -> Path:
        """A folder below it. A missing one is made with mode 700."""
        path = self.root
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        for part in parts:  # one by one: `parents=True` gives the mode only to the last one
            path /= part
            path.mkdir(exist_ok=True, mode=0o700)
        return path

    def key(self, name: str) -> Path:
        return self.dir("keys") / f"{name}.nk"

    def ledger(self, gateway: str) -> Path:
        return self.dir("nodes", gateway) / "ledger.db"

    def log(self, name: str) -> Path:
        return self.dir("logs") / f"{name}.log"

    def socket(self, gateway: str) -> Path:
        """The Unix socket of a gateway's node. If its path would be too long, it lies in the temporary folder.

        Raises Refused if others have access to its folder there.
        """
        path = self.root / "nodes" / gateway / "node.sock"
        if len(os.fsencode(path)) < _MAX_SOCKET_PATH:
            self.dir("nodes", gateway)
            return path
        name = Path(f"clawbus-{os.getuid()}", f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.sock")
        place = Path(tempfile.gettempdir(), name)
        if len(os.fsencode(place)) >= _MAX_SOCKET_PATH:  # TMPDIR may be deep, too
            place = Path("/tmp", name)  # noqa: S108 - the folder is looked at below
        folder = place.parent
        folder.mkdir(mode=0o700, exist_ok=True)
        # Anybody may make a folder of that name there, or a link.
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise Refused(
                f"{folder} is not a folder of ours alone", "Remove it, or use a company folder with a shorter path."
            )
        return place


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner can read (mode 600). It is written whole or not at all."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    scratch.replace(path)


def leave_no_dump() -> None:
    """Forbid core dumps of this process and its children: an image of their memory would hold keys."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
