"""What the commands print. All of it goes through `show.inert`, in here: nobody else calls `click.echo`."""

from __future__ import annotations

from typing import Any

import click

from clawbus.show import inert, inert_json


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
