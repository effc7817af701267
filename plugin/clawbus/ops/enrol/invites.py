"""The invites of a company. The file has only the hash of each secret, and counts the wrong guesses.

`clawbus invite` opens invites and the registrar spends them. These are two processes, so each change is made under a
lock of the file. A closed invite is remembered for a day: whoever comes too late hears why, and does not count as
somebody who guesses.
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
"""After so many wrong secrets every open invite is closed. Nobody guesses 128 bits, but somebody is trying."""
REMEDY = "Make a new one on the company's own machine: clawbus invite."
_REMEMBERED_S = 86_400


class Invite(BaseModel):
    """One invite. `hash`: SHA-256 of the secret, in hex. `expires`: Unix time, in seconds.

    `by`: the machine that has begun to use it (`machine_of`). It may begin again until it has joined; no other may.
    `over`: the reason why it was closed, in words; empty if it was not, or if only its time or wrong guesses closed it.
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
        """The reason why it is not good at `now`; empty if it is."""
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
        """The invites that are good now."""
        now = time.time()
        return [invite for invite in self._read() if invite.open_at(now)]

    def open(self, gateways: Sequence[str], life_s: float = LIFE_S) -> tuple[str, float]:
        """Open an invite for these gateways, and close earlier ones for any of them. Returns its secret and expiry."""
        secret, expires = secrets.token_urlsafe(16), time.time() + life_s
        with self._locked():
            newer = Invite(hash=_hash(secret), gateways=tuple(gateways), expires=expires)
            self._write([*(self._replaced(invite, newer) for invite in self._remembered()), newer])
        return secret, expires

    def find(self, secret: str, by: str = "") -> Invite:
        """The open invite of a secret, for the machine `by`. Raises Refused with the reason."""
        digest, found = _hash(secret), None
        with self._locked():
            known = self._remembered()
            for invite in known:  # all of them, so that the time that it takes tells nothing
                found = invite if hmac.compare_digest(invite.hash, digest) else found
            if found is None:  # a wrong guess counts for every open invite
                now = time.time()
                self._write([_change(invite, wrong=invite.wrong + invite.open_at(now)) for invite in known])
                raise Refused("the code is not right", REMEDY)
        return _usable(found, by)

    def begin(self, invite: Invite, by: str) -> None:
        """Reserve an invite for the machine `by`. Raises Refused if it was closed, or begun by another machine."""
        with self._locked():
            known = self._remembered()
            present = next((kept for kept in known if kept.hash == invite.hash), invite)
            _usable(present, by)
            self._write([_change(kept, by=by) if kept is present else kept for kept in known])

    def finish(self, invite: Invite) -> None:
        """Close an invite, since it was used."""
        self._end(invite.hash, "was used")

    def close(self, secret: str) -> None:
        """Close an invite, since it was taken back."""
        self._end(_hash(secret), "was taken back")

    def _end(self, digest: str, over: str) -> None:
        with self._locked():
            known = self._remembered()
            self._write([_change(invite, over=over) if invite.hash == digest else invite for invite in known])

    def _remembered(self) -> list[Invite]:
        now = time.time()
        return [invite for invite in self._read() if now < invite.expires + _REMEMBERED_S]

    @staticmethod
    def _replaced(invite: Invite, newer: Invite) -> Invite:
        is_replaced = invite.open_at(time.time()) and {*invite.gateways} & {*newer.gateways}
        return _change(invite, over="was replaced by a newer one") if is_replaced else invite

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
    """The mark of a machine: the hash of its gateways' public keys, `gw-<id>`; empty without any."""
    mine = sorted(f"{name} {key}" for name, key in keys.items() if name.startswith("gw-"))
    return _hash("\n".join(mine)) if mine else ""


def _usable(invite: Invite, by: str) -> Invite:
    refusal = invite.refusal(time.time())
    if not refusal and invite.by not in ("", by):
        refusal = "is being used by another machine, or by another folder"
    if refusal:
        raise Refused(f"the code {refusal}", REMEDY)
    return invite


def _change(invite: Invite, **to: Any) -> Invite:
    return invite.model_copy(update=to)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
