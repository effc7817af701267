"""The refusals of the company's own nats-server: a key that tried what is not its own, or a client without a key.

The server tells nobody but its log. A line of it is text of others where they chose the words: a client's name, a
subject. Each stands between quotes there, escaped, and is read as such.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clawbus.bus.jwt import claims_of, read_creds
from clawbus.errors import InvalidInput
from clawbus.settings import Home

STRANGER = "stranger"
"""The name of a client that is not known: credentials that are expired, revoked, somebody else's, or none."""
PUBLISH = "publish"
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_SAID = re.compile(rf"\[ERR\] \S+ - [a-z]+:\d+(?: - {_QUOTED} - {_QUOTED})? - (.*)$")
_VIOLATION = re.compile(r'(Publish|Subscription) Violation - (?:Subject|Reply) "((?:[^"\\\s]|\\.)*)"')
"""A subject has no blanks: a line that a full disk has cut runs on into the next one, and names nobody's."""
_USER = re.compile(r"(?:jwt|nkey):(U[A-Z2-7]{55})$")
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Refusal:
    """One call that the server did not let pass. `key`: whose credentials; `label`: what the client calls itself."""

    key: str
    label: str
    what: str
    subject: str = ""


class ServerLog:
    """The log of this home's server, read on from where it was read to. What was there before is not told."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._log = home.root / "logs" / "nats-server.log"
        self._at = self._size()

    def fresh(self) -> list[Refusal]:
        """The refusals since the last look; of a flood the newest."""
        size = self._size()
        if size < self._at:  # the server has begun a new file
            self._at = 0
        start = max(self._at, size - _MOST_BYTES)
        if size == start:
            return []
        with self._log.open("rb") as file:
            file.seek(start)
            text, _, _ = file.read(size - start).rpartition(b"\n")
        self._at = start + len(text) + bool(text)  # a line that is being written is read when it is whole
        return list(self._read(text.decode("utf-8", "replace")))

    def _size(self) -> int:
        try:
            return self._log.stat().st_size
        except OSError:
            return 0

    def _read(self, text: str) -> Iterator[Refusal]:
        names: dict[str, str] = {}  # of a flood each key is looked up once
        for line in text.splitlines():
            found = _SAID.search(line)
            if found is None:
                continue
            label, user, words = found[1] or "", found[2] or "", found[3]
            if violation := _VIOLATION.match(words):
                what = PUBLISH if violation[1] == "Publish" else "subscribe to"
                if user not in names:
                    names[user] = self._name(user)
                yield Refusal(names[user], label.split(":", 2)[-1], what, violation[2])
            elif words.startswith("authentication error"):
                yield Refusal(STRANGER, "", "connect")

    def _name(self, user: str) -> str:
        """The name of a key by its public half, which is what the log has."""
        found = _USER.search(user)
        if found is None:
            return STRANGER
        for file in (self._home.root / "keys").iterdir():
            if found[1] in _held(file):
                return file.stem
        return STRANGER


def _held(file: Path) -> str:
    try:
        if file.suffix == ".creds":
            return str(claims_of(read_creds(file)).get("sub"))
        return file.read_text() if file.suffix == ".pub" else ""
    except (OSError, InvalidInput):
        return ""
