"""What the commands print. All of it goes through `show.inert`, in here: nobody else calls `click.echo`."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from typing import Any

import click

from clawbus.sanitize import escaped, inert, inert_json

_ESCAPED = "clawbus.escaped"


def take_streams() -> None:
    """Let every text be printed, before anything is: what an encoding lacks is an escape, and a closed stream is none.

    Others choose their letters: one that this terminal does not have must not hide the rest of a list.
    """
    codecs.register_error(_ESCAPED, escaped)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123 - until the process ends
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPED)


class _Outliving(io.RawIOBase):
    """A file whose disk may fill up: what finds no room there is dropped, and who writes goes on."""

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
    """For a command that runs on and on, and whose lines may go into a file: the company must not end with its disk."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.flush()
            raw = io.BufferedWriter(_Outliving(stream.fileno()))
            setattr(sys, name, io.TextIOWrapper(raw, stream.encoding, stream.errors, line_buffering=True))


def put_line(text: str, err: bool = False) -> None:
    """One line, whatever stands in it: no label, reason or name adds a row of its own."""
    click.echo(inert(text, lines=False), err=err)


def put_text(text: str, indent: int = 0, err: bool = False) -> None:
    """A text with its lines. `indent`: columns before each, so that a text cannot pose as a row of a list."""
    click.echo(inert(" " * indent + text.replace("\n", "\n" + " " * indent)), err=err)


def print_json(data: Any) -> None:
    click.echo(inert_json(data))


def say(data: Any, text: str, as_json: bool) -> None:
    """The same in one of two forms."""
    if as_json:
        print_json(data)
    else:
        put_text(text)
