"""The options that commands share, the callbacks of their arguments, and the running of a coroutine."""

from __future__ import annotations

import contextlib
import functools
import re
import signal
import sys
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, ParamSpec

import click

from clawbus.errors import InvalidInput, NotFound

P = ParamSpec("P")
_NAMED = 4
ID_CHARS = 26
PATIENCE_S = 2.0
"""A command tries for this time while the bus is away: a person waits at a terminal."""

org_option = click.option(
    "--org",
    "org_file",
    type=click.Path(path_type=Path),
    default=Path("org.toml"),
    show_default=True,
    help="The company's file; the folder .clawbus beside it holds all state.",
)
as_option = click.option(
    "--as", "person", metavar="HUMAN", help="Which person of org.toml speaks. [default: the first]"
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class Group(click.Group):
    """Commands below a command. Each is told in a whole sentence: click cuts it where the line ends."""

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, command.get_short_help_str(limit=200)) for name, command in sorted(self.commands.items())]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def beginning(
    _context: click.Context, _option: click.Parameter, text: str | tuple[str, ...] | None
) -> str | tuple[str, ...] | None:
    """The callback of an argument that takes an id, or its first letters. Raises InvalidInput."""
    if isinstance(text, tuple):
        return tuple(_beginning(part) for part in text)
    return None if text is None else _beginning(text)


def _beginning(text: str) -> str:
    if not re.fullmatch(f"[a-z2-7]{{4,{ID_CHARS}}}", text):
        remedy = "Take one from a list, such as that of `clawbus tasks`; its first four letters will do."
        raise InvalidInput("ID", text, "neither an id nor the beginning of one", remedy)
    return text


def the_one(beginning_of_it: str, ids: Iterable[str], nothing: NotFound) -> str:
    """The id of `ids` that begins with `beginning_of_it`. Raises `nothing`, or InvalidInput if several do."""
    found = {one for one in ids if one.startswith(beginning_of_it)}
    if len(found) > 1:
        problem = f"{len(found)} begin so: {', '.join(sorted(found)[:_NAMED])}"
        raise InvalidInput("ID", beginning_of_it, problem, "Write more of it.")
    if not found:
        raise nothing
    return found.pop()


def duration(context: click.Context, option: click.Parameter, value: str | None) -> int | None:
    """The callback of an option that takes a length of time, as org.toml writes it ("90s", "5m"); in seconds."""

    from clawbus.org.duration import seconds

    try:
        found = seconds(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is {error}", context, option) from None
    return found if isinstance(found, int) and found > 0 else None


def text_of(argument: str) -> str:
    """The text of a TEXT argument; `-` stands for standard input. Raises InvalidInput if that is not UTF-8."""
    if argument != "-":
        return argument
    try:
        return sys.stdin.read()
    except UnicodeDecodeError:
        problem, remedy = "standard input is not UTF-8", "Save it as UTF-8, then pipe it in."
        raise InvalidInput("TEXT", argument, problem, remedy) from None


def run_async(command: Callable[P, Coroutine[Any, Any, int | None]]) -> Callable[P, int | None]:
    """Make a command of a coroutine function: click calls the result."""
    import asyncio

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> int | None:
        return asyncio.run(command(*args, **kwargs))

    return wrapper


async def until_stopped(serving: Coroutine[Any, Any, None]) -> None:
    """Run a process's work until it ends, or until SIGTERM or SIGINT: these cancel it."""
    import asyncio

    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    work = asyncio.create_task(serving)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work
