"""The invites of a company: of each secret only its hash, and how often it was guessed wrong. A used one is gone.

`clawbus invite` opens them and the registrar spends them, two processes: each change is made under a lock of the file.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from clawbus.settings import Home, write_secret

LIFE_S = 600
MOST_WRONG = 5
"""Of so many wrong secrets each invite that was open is closed: 128 bits are not guessed, so somebody is trying."""


class Invite(BaseModel):
    """`hash`: SHA-256 of the secret, in hex. `expires`: Unix time, in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hash: str
    gateways: tuple[str, ...]
    expires: float
    wrong: int = 0

    def open_at(self, now: float) -> bool:
        return self.wrong < MOST_WRONG and now < self.expires


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    invites: tuple[Invite, ...] = ()


class Invites:
    """The file `invites.json` of a home, mode 600."""

    def __init__(self, home: Home) -> None:
        home.dir()
        self._file = home.root / "invites.json"

    def opened(self) -> list[Invite]:
        """Those that can be used now."""
        now = time.time()
        return [one for one in self._read() if one.open_at(now)]

    def open(self, gateways: Sequence[str], life_s: float = LIFE_S) -> tuple[str, float]:
        """Open one for these gateways, and close earlier ones for any of them. Returns the secret and the expiry."""
        secret, expires = secrets.token_urlsafe(16), time.time() + life_s
        with self._locked():
            kept = [one for one in self.opened() if not {*one.gateways} & {*gateways}]
            self._write([*kept, Invite(hash=_hash(secret), gateways=tuple(gateways), expires=expires)])
        return secret, expires

    def find(self, secret: str) -> Invite | None:
        """The open invite of a secret. None, and counted as a wrong try of every open one, if there is none."""
        digest, found = _hash(secret), None
        with self._locked():
            opened = self.opened()
            for one in opened:  # all of them, so that the time tells nothing
                found = one if hmac.compare_digest(one.hash, digest) else found
            if found is None:
                self._write([one.model_copy(update={"wrong": one.wrong + 1}) for one in opened])
        return found

    def use(self, invite: Invite) -> bool:
        """Spend it; False if it was used, closed or expired since it was found."""
        with self._locked():
            opened = self.opened()
            present = next((one for one in opened if one.hash == invite.hash), None)
            if present is not None:
                self._write([one for one in opened if one is not present])
        return present is not None

    def close(self, secret: str) -> None:
        """Take one back."""
        with self._locked():
            self._write([one for one in self.opened() if one.hash != _hash(secret)])

    def _read(self) -> tuple[Invite, ...]:
        try:
            return _Kept.model_validate_json(self._file.read_bytes()).invites
        except (FileNotFoundError, ValidationError):
            return ()

    def _write(self, invites: Sequence[Invite]) -> None:
        write_secret(self._file, _Kept(invites=tuple(invites)).model_dump_json() + "\n")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with Path(f"{self._file}.lock").open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
