"""The secrets of a company, found in the files that hold them, and the search for them everywhere else.

No list of secrets is kept here: every file that only its owner can read has to be named below, as a holder or as one
that holds none. So a new place for a secret cannot be forgotten.
"""

from __future__ import annotations

import base64
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

_SEED = re.compile(rb"S[UAO][A-Z2-7]{56}")
_PEM = re.compile(rb"-----BEGIN (?:EC )?PRIVATE KEY-----.+?-----END (?:EC )?PRIVATE KEY-----", re.DOTALL)
_PIECE = 16  # bytes: 23 of a secret in a row hold one; what is shorter is found by chance

Extract = Callable[[bytes], list[bytes]]


def _seeds(data: bytes) -> list[bytes]:
    """An nkey as text, and the 32 bytes that it stands for."""
    found = _SEED.findall(data)
    return [one for seed in found for one in (seed, base64.b32decode(seed + b"=" * (-len(seed) % 8))[2:34])]


def _private_keys(data: bytes) -> list[bytes]:
    """The key's number, and what of the file's text is its beginning."""
    found = []
    for pem in _PEM.findall(data):
        key = load_pem_private_key(pem, None)
        assert isinstance(key, EllipticCurvePrivateKey)
        found += [key.private_numbers().private_value.to_bytes(32, "big")]
        found += [pem.splitlines()[1][-16:]]  # before it stands what all keys share, after it the public half
    return found


def _whole(data: bytes) -> list[bytes]:
    return [data.strip()]


def _path_of_url(data: bytes) -> list[bytes]:
    return [data.strip().rpartition(b"/")[2]]


def _token(data: bytes) -> list[bytes]:
    token = json.loads(data)["gateway"]["auth"]["token"]
    return [token.encode()] if isinstance(token, str) else []  # or where it is read from


def _none(_data: bytes) -> list[bytes]:
    return []


HOLDERS: tuple[tuple[str, Extract, str], ...] = (
    (r"\.clawbus/authority/\w+\.nk", _seeds, "the keys that sign accounts and credentials"),
    (r"\.clawbus/authority/system\.creds", _seeds, "while the server is told of changed accounts"),
    (r"\.clawbus/authority/watcher\.creds", _seeds, "while `clawbus up` asks the server whether it is well"),
    (r"\.clawbus/keys/[\w-]+\.nk", _seeds, "a member's key"),
    (r"\.clawbus/keys/[\w-]+\.creds", _seeds, "the same key, with its JWT, as NATS clients read it"),
    (r"\.clawbus/tls/(authority|server)\.pem", _private_keys, "the company's TLS"),
    (r"\.clawbus/gateways/[\w-]+/token", _whole, "what a node shows the gateway"),
    (r"\.clawbus/gateways/[\w-]+/openclaw\.json(\.(bak|last-good)(\.\d)?)?", _token, "the gateway reads its token there"),
    (r"\w+\.token", _whole, "the token of a gateway that is the user's"),
    (r"hook", _path_of_url, "a person's webhook"),
    # What only its owner can read, and which holds no secret: searched as any other file.
    (r"\.clawbus/authority/revoked\.json", _none, "public keys"),
    (r"\.clawbus/(authority/(revoked|system)\.|invites\.json\.|nodes/[\w-]+/)lock", _none, "nothing: a lock that is held"),
    (r"\.clawbus/keys/[\w-]+\.(pub|jwt)", _none, "public keys, and JWTs, which are of no use without the key"),
    (r"\.clawbus/tls/ca\.pem", _none, "a certificate"),
    (r"\.clawbus/invites\.json", _none, "hashes"),
    (r"\.clawbus/code", _none, "the hash of the code that the machine came in by"),
    (r"\.clawbus/here\.json", _none, "what of the company is on the machine"),
    (r"\.clawbus/nats/(nats\.conf|jwt/\w+\.jwt)", _none, "the server's configuration: public keys and signed accounts"),
    (r"\.clawbus/nats/(nats-server\.pid|jetstream/.+)", _none, "streams: what was said"),
    (r"\.clawbus/nodes/[\w-]+/ledger\.db(-wal|-shm)?", _none, "what a node remembers"),
    (r"\.clawbus/run/.+", _none, "numbers of processes"),
    (r"\.clawbus/gateways/[\w-]+/(openclaw\.log|(state|workspaces|\.\w+)/.+)", _none, "OpenClaw's own"),
    (r"org\.toml", _none, "on a machine that has joined"),
)  # fmt: skip


@dataclass(frozen=True)
class Secret:
    """`holders`: the files that may hold it. `values`: what it looks like; if one is found, it is out."""

    name: str
    values: tuple[bytes, ...]
    holders: frozenset[str] = frozenset()

    def needles(self) -> Iterator[bytes]:
        return (needle for value in self.values for needle in forms(value))


def forms(value: bytes) -> Iterator[bytes]:
    """A secret as it may be written: whole or cut, in hex, in a URL, in base64 and base32 within anything."""
    yield from (value[at : at + _PIECE] for at in range(0, max(1, len(value) - _PIECE + 1), _PIECE // 2))
    yield from [value.hex().encode(), value.hex().upper().encode(), quote(value, safe="").encode()]
    for encode, bits, lengths in ((base64.b64encode, 6, 3), (base64.urlsafe_b64encode, 6, 3), (base64.b32encode, 5, 5)):
        for before in range(lengths):  # by what stands before it, its characters differ; those of its ends are shared
            text = encode(b"\0" * before + value)
            yield text[-(-before * 8 // bits) : (before + len(value)) * 8 // bits]


def planted(folder: Path) -> list[Secret]:
    """The secrets that lie in a company's folder.

    Raises AssertionError for a file that only its owner can read and of which nobody has said what it holds, for a
    holder that others can read, and for a secret that lies in files that do not belong together.
    """
    held: dict[bytes, set[str]] = {}
    for path in _files(folder):
        name, private = str(path.relative_to(folder)), not stat.S_IMODE(path.stat().st_mode) & 0o077
        extract = next((extract for pattern, extract, _ in HOLDERS if re.fullmatch(pattern, name)), None)
        assert extract or not private, f"{name}: does it hold a secret? Say so in tests/canaries.py"
        values = tuple(extract(_read(path))) if extract else ()
        assert private or not values, f"{name}: others can read it"
        for value in values:
            held.setdefault(value, set()).add(name)
    found: dict[frozenset[str], list[bytes]] = {}
    for value, names in held.items():
        assert len({_owner(name) for name in names}) == 1, f"one secret in {sorted(names)}"
        found.setdefault(frozenset(names), []).append(value)
    return [Secret(max(names), tuple(values), names) for names, values in found.items()]


def _owner(name: str) -> str:
    """What files that share a secret have in common: the name of the key, or the gateway's folder."""
    found = re.match(r"\.clawbus/gateways/[\w-]+/", name)
    return found[0] if found else name.rpartition(".")[0]


def leaks(secrets: Iterable[Secret], places: Iterable[tuple[str, bytes]]) -> list[str]:
    """Where a secret is found outside its holders: the name of the secret, and the place. Never the secret."""
    wanted = [(secret, set(secret.needles())) for secret in secrets]
    found = []
    for place, data in places:
        for secret, needles in wanted:
            if place not in secret.holders and any(needle in data for needle in needles):
                found.append(f"{secret.name} is in {place}")
    return found


def files_of(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below, by its path there: logs, ledgers, streams on disk, sockets' folders, dumps."""
    return ((str(path.relative_to(folder)), _read(path)) for path in _files(folder))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # a scratch file of a running process
        return b""


def processes(but: Iterable[int] = ()) -> Iterator[tuple[str, bytes]]:
    """The command lines and environments of all processes on this machine that can be read, but for the test itself."""
    spared = {os.getpid(), *but}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in spared:
            for part in ("cmdline", "environ"):
                try:
                    yield f"/proc/{entry.name}/{part}", (entry / part).read_bytes()
                except OSError:  # it has ended, or is another user's
                    continue


def core_limits(pids: Mapping[str, int]) -> dict[str, str]:
    """How large a dump each process may leave when it crashes, in bytes, as the kernel says."""
    found = {}
    for name, pid in pids.items():
        limits = Path(f"/proc/{pid}/limits").read_text()
        found[name] = re.search(r"Max core file size +(\S+) +(\S+)", limits).group(1)  # type: ignore[union-attr]
    return found
