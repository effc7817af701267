"""Errors of a nats-server that has no room, by their code: what is full, and the setting that widens it.

The codes are those of nats-server's errors.json. On a server of our own people set one bound, the sizes under
`[streams]` of org.toml. On another's (`bus.url`) the limits of the account and of the server hold, too.
"""

from __future__ import annotations

from dataclasses import dataclass

from clawbus.bus.server_words import is_bound_of_subject
from clawbus.errors import BacklogFull, Refused
from clawbus.wire.channels import CHANNELS, INBOX, STREAMS, TASKS

STORE_FAILED = 10077
"""One code for two bounds: the stream, or one of its subjects, has as many bytes or messages as it may."""
_TOO_LARGE = (10054, 10097)
_NAMES = frozenset(stream.name for stream in STREAMS)
_OURS = "Run `clawbus up` anew: it starts the server without that bound."
_SERVER, _ACCOUNT = "in the block jetstream of its configuration", "of the company's account there"


@dataclass(frozen=True, slots=True)
class _Full:
    """`what` is full, `{stream}` being the one that was written or made. `theirs`: the setting on another's server."""

    what: str
    theirs: str


_FULL = {
    10002: _Full("the account keeps as much as it may", f"the storage limit (max_file, or disk_storage) {_ACCOUNT}"),
    10023: _Full("the nats-server keeps as much as it may", f"max_file_store {_SERVER}"),
    10026: _Full("{stream} or its account may have no more consumers", f"max_consumers {_ACCOUNT}"),
    10027: _Full("the account may have no more streams", f"max_streams {_ACCOUNT}"),
    10028: _Full("the nats-server keeps as much in memory as it may", f"max_memory_store {_SERVER}"),
    10047: _Full(
        "the nats-server may not keep on disk what {stream} reserves beside the others",
        f"max_file_store {_SERVER}, or the storage limit (max_file, or disk_storage) {_ACCOUNT},",
    ),
    10120: _Full("the account may keep nothing", f"the storage limit (max_file, or disk_storage) {_ACCOUNT}"),
    10121: _Full(
        "a consumer of {stream} may not have as many messages in hand",
        f"max_ack_pending {_SERVER} (limits), or {_ACCOUNT},",
    ),
    10122: _Full(
        "{stream} is larger than a stream may be", f"the limit of a stream's bytes (disk_max_stream_bytes) {_ACCOUNT}"
    ),
}


def no_room(code: int, text: str, subject: str, own: bool) -> Refused | None:
    """The error to raise if `code` says that something is full; None for any other code.

    `text`: the server's words. `subject`: the one that was published, or the method that was called. `own`: True if
    the server is the company's own.
    """
    stream = stream_of(subject)
    if code == STORE_FAILED:
        return _backlog(stream, subject) if is_bound_of_subject(text) else _full_stream(stream)
    if code in _TOO_LARGE:
        return Refused(
            f"the message is larger than {_named(stream)} takes in one ({text})",
            "Say it in fewer words, or send it as a file: a file travels in parts. If the bound is not ours (1 MiB, "
            "`max_msg_size` of the stream), `clawbus apply` sets it again.",
        )
    if (found := _FULL.get(code)) is None:
        return None
    what = found.what.replace("{stream}", _named(stream))
    return Refused(f"no room: {what} ({text})", _OURS if own else f"Raise {found.theirs} on that nats-server.")


def stream_of(subject: str) -> str:
    """The stream of a subject, or of a method of JetStream's API; empty if there is none."""
    tokens = subject.split(".")
    kept = next((row.stream for row in CHANNELS if len(tokens) > 1 and row.name == tokens[1]), None)
    return kept or next((token for token in tokens if token in _NAMES), "")


def _named(stream: str) -> str:
    return f"the stream {stream}" if stream else "the stream"


def _full_stream(stream: str) -> Refused:
    setting = f"`{stream.lower()} = MIB`" if stream else "its size"
    return Refused(
        f"no room: {_named(stream)} holds as much as it may",
        f"A person can raise {setting} under [streams] in org.toml, then `clawbus apply`; `clawbus alerts` says who "
        "fills it. What it holds goes by its age.",
    )


def _backlog(stream: str, subject: str) -> BacklogFull:
    """The error for a full queue of one sender for one receiver. A caller that knows its length adds it (`count`)."""
    receiver = subject.split(".")[2] if stream in (TASKS, INBOX) else ""
    whose = f" of {receiver}" if receiver else ""
    wider = " People can raise policies.quota in org.toml." if stream == TASKS else ""
    return BacklogFull(
        f"the backlog{whose} is full: it holds as many messages of this sender as it may",
        f"Wait until some of what waits there is done with.{wider}",
    )
