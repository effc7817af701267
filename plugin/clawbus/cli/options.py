"""What the commands share: options, and the two ways to print."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ParamSpec

import click

P = ParamSpec("P")

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


def run_async(command: Callable[P, Coroutine[Any, Any, int | None]]) -> Callable[P, int | None]:
    """Let click call a coroutine."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> int | None:
        return asyncio.run(command(*args, **kwargs))

    return wrapper


def print_json(data: Any) -> None:
    click.echo(json.dumps(data, indent=2, ensure_ascii=False, default=str))


def say(data: Any, text: str, as_json: bool) -> None:
    """The same in one of two forms."""
    if as_json:
        print_json(data)
    else:
        click.echo(text)
