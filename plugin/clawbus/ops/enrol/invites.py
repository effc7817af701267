"""The invites of a company: of each secret only its hash, and how often it was guessed wrong.

`clawbus invite` opens them and the registrar spends them, two processes: each change is made under a lock of the file.
What is over is remembered for a day, so that whoever comes too late hears why, and is not taken for one who guesses.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from clawbus.errors import Refused
from clawbus.file_lock import locked
from clawbus.settings import Home, write_secret

LIFE_S = 600
MOST_WRONG = 5
"""Of so many wrong secrets each invite that was open is closed: 128 bits are not guessed, so somebody is trying."""


REMEDY = "Make a new one on the company's own machine: clawbus invite."
_REMEMBERED_S = 86_400


class Invite(BaseModel):
    """`hash`: SHA-256 of the secret, in hex. `expires`: Unix time, in seconds.

    `by`: the machine that has begun to use it (`machine_of`): it may begin anew until it has come in, and no other may.
    `over`: why it is good no more, in words, unless that is for its time or for guessing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hash: str
    gateways: tuple[str, ...]
    expires: float
    wrong: int = 0
    by: str = ""
    over: str = ""

    def open_at(self, now: float) -> bool:
        return not self.refusal(now)

    def refusal(self, now: float) -> str:
        """Why it opens nothing at that time, empty if it does."""
        if self.over:
            return self.over
        if self.wrong >= MOST_WRONG:
            return f"was closed: {MOST_WRONG} wrong ones had come"
        return "has expired" if now >= self.expires else ""


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
            newer = Invite(hash=_hash(secret), gateways=tuple(gateways), expires=expires)
            self._write([*(self._replaced(one, newer) for one in self._remembered()), newer])
        return secret, expires

    def find(self, secret: str, by: str = "") -> Invite:
        """The open invite of a secret, for the machine `by`. Raises Refused with the reason.

        A secret that was never given out counts as a wrong try of every open invite.
        """
        digest, found = _hash(secret), None
        with self._locked():
            known = self._remembered()
            for one in known:  # all of them, so that the time tells nothing
                found = one if hmac.compare_digest(one.hash, digest) else found
            if found is None:
                now = time.time()
                self._write([_change(one, wrong=one.wrong + one.open_at(now)) for one in known])
                raise Refused("the code is not right", REMEDY)
        return _usable(found, by)

    def begin(self, invite: Invite, by: str) -> None:
        """From now on it is good for the machine `by` alone. Raises Refused: closed, or begun by another one since."""
        with self._locked():
            known = self._remembered()
            present = next((one for one in known if one.hash == invite.hash), invite)
            _usable(present, by)
            self._write([_change(one, by=by) if one is present else one for one in known])

    def finish(self, invite: Invite) -> None:
        """It is used."""
        self._end(invite.hash, "was used")

    def close(self, secret: str) -> None:
        """Take one back."""
        self._end(_hash(secret), "was taken back")

    def _end(self, digest: str, over: str) -> None:
        with self._locked():
            self._write([_change(one, over=over) if one.hash == digest else one for one in self._remembered()])

    def _remembered(self) -> list[Invite]:
        now = time.time()
        return [one for one in self._read() if now < one.expires + _REMEMBERED_S]

    @staticmethod
    def _replaced(one: Invite, newer: Invite) -> Invite:
        again = one.open_at(time.time()) and {*one.gateways} & {*newer.gateways}
        return _change(one, over="was replaced by a newer one") if again else one

    def _read(self) -> tuple[Invite, ...]:
        try:
            return _Kept.model_validate_json(self._file.read_bytes()).invites
        except (FileNotFoundError, ValidationError):
            return ()

    def _write(self, invites: Sequence[Invite]) -> None:
        write_secret(self._file, _Kept(invites=tuple(invites)).model_dump_json() + "\n")

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        return locked(Path(f"{self._file}.lock"), wait=True)


def machine_of(keys: Mapping[str, str]) -> str:
    """What tells a machine from another one: the public keys of its gateways, `gw-<id>`, hashed; empty without any."""
    mine = sorted(f"{name} {key}" for name, key in keys.items() if name.startswith("gw-"))
    return _hash("\n".join(mine)) if mine else ""


def _usable(invite: Invite, by: str) -> Invite:
    why_not = invite.refusal(time.time())
    if not why_not and invite.by not in ("", by):
        why_not = "is being used by another machine, or by another folder"
    if why_not:
        raise Refused(f"the code {why_not}", REMEDY)
    return invite


def _change(invite: Invite, **to: Any) -> Invite:
    return invite.model_copy(update=to)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
