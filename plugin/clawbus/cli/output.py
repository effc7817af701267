"""The output of the commands, and the one form of ids, moments and durations.

All text goes through `sanitize.inert`, in here: nobody else calls `click.echo`.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from datetime import UTC, datetime
from typing import Any

import click

from clawbus.wire.sanitize import escaped, inert, inert_json

_ESCAPED = "clawbus.escaped"
_SHORT_ID = 8
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def take_streams() -> None:
    """Make the standard streams take every text: a letter that an encoding lacks becomes an escape.

    A closed stream is replaced by the null device. Call it before anything is printed: others choose their letters, and
    one that this terminal lacks must not hide the rest of a list.
    """
    codecs.register_error(_ESCAPED, escaped)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123 - until the process ends
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPED)


class _Outliving(io.RawIOBase):
    """A file whose disk may fill up. It drops what finds no room, so that the writer goes on."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: Any) -> int:
        try:
            return os.write(self._descriptor, data)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)


def outlive_full_disk() -> None:
    """Let standard output and error drop what a full disk does not take. For commands that run until stopped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.flush()
            raw = io.BufferedWriter(_Outliving(stream.fileno()))
            setattr(sys, name, io.TextIOWrapper(raw, stream.encoding, stream.errors, line_buffering=True))


def put_line(text: str, err: bool = False) -> None:
    """Print one line. Line breaks in it are shown as escapes: no label, reason or name adds a row of its own."""
    click.echo(inert(text, lines=False), err=err)


def put_text(text: str, indent: int = 0, err: bool = False) -> None:
    """Print a text with its lines. `indent`: columns before each, so that a text cannot pose as a row of a list."""
    click.echo(inert(" " * indent + text.replace("\n", "\n" + " " * indent)), err=err)


def print_json(data: Any) -> None:
    click.echo(inert_json(data))


def short(task_id: str) -> str:
    """The beginning of an id, as every list and line shows it. Every command takes it; JSON has the whole id."""
    return task_id[:_SHORT_ID]


def moment(at: datetime, exact: bool = False) -> str:
    """A point in time, in UTC (RFC 3339), as `replay --since` takes it. `exact`: with milliseconds."""
    return at.astimezone(UTC).isoformat(" ", "milliseconds" if exact else "seconds").replace("+00:00", "Z")


def lasting(duration_s: float) -> str:
    """A duration in its largest unit that it fills, rounded down: 300 is "5 min"."""
    size, unit = next(((size, unit) for size, unit in _UNITS if duration_s >= size), _UNITS[-1])
    return f"{max(0, int(duration_s // size))} {unit}"


def say(data: Any, text: str, as_json: bool) -> None:
    """Print `data` as JSON, or else `text`."""
    if as_json:
        print_json(data)
    else:
        put_text(text)
