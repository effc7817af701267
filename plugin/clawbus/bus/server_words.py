"""The only place that decides by the English of nats-server: where it gives words and no code.

Everywhere else `err_code` decides (`messages.translate`, `quota_errors`). Words are left in three places:

- An `-ERR` of the client protocol is a text (docs.nats.io, "Client Protocol"). nats-py has one class for one of them,
  AuthorizationError; the class is asked first.
- Code 10077 stands for each bound of a stream, those of one subject among them.
- The server's log (`provision/server_log.py` reads it, and `ops/up/leaf_process.py` the leaf's).

A text that is not known is `OTHER`: it is logged, and the connection is tried again.
"""

from __future__ import annotations

import re
from enum import Enum, auto

import nats.errors

_VIOLATION = "permissions violation"
_PUBLISH = re.compile(r'publish to "([^"]+)"', re.IGNORECASE)
_FULL = re.compile(r"maximum (account active )?connections exceeded", re.IGNORECASE)
"""With "account" it is about one account, else about the whole server."""
_REVOKED = "revoked"
_REFUSED = ("authorization", "authentication", "expired", _REVOKED)
_SLOW = "timeout"
"""`Authentication Timeout` says that the machine or the network was slow, and nothing of the key."""
_PER_SUBJECT = "per subject"


class Complaint(Enum):
    """The kinds of what goes wrong beside the answers."""

    VIOLATION = auto()
    """The key may not publish or hear a subject."""
    FULL = auto()
    """Too many are connected."""
    REVOKED = auto()
    """The credentials never count again."""
    REFUSED = auto()
    """The server does not take the key, or not these credentials."""
    AWAY = auto()
    """The machine, the network or the server is away."""
    OTHER = auto()


def complaint_of(error: Exception) -> Complaint:
    """The kind of an error that nats-py reports beside the answers."""
    if isinstance(error, nats.errors.AuthorizationError):
        return Complaint.REFUSED
    text = str(error).lower()
    if _VIOLATION in text:  # first: it quotes a subject, and with it whatever an agent is called
        return Complaint.VIOLATION
    if _FULL.search(text):
        return Complaint.FULL
    if _SLOW not in text and any(word in text for word in _REFUSED):
        return Complaint.REVOKED if _REVOKED in text else Complaint.REFUSED
    return Complaint.AWAY if isinstance(error, OSError) else Complaint.OTHER


def is_full(line: str) -> bool:
    """True if the server turns a client away because too many are connected."""
    return _FULL.search(line) is not None


def is_refusal(line: str) -> bool:
    """True if a line of the server's log says that another server or a key was not let in."""
    return "authorization violation" in line.lower()


def forbidden_subject(text: str) -> str | None:
    """The subject that a permissions violation says may not be published; None if it is no such violation."""
    found = _PUBLISH.search(text)
    return found[1] if found else None


def is_bound_of_subject(description: str) -> bool:
    """True if an error 10077 says that one subject is full, and not the whole stream."""
    return _PER_SUBJECT in description
