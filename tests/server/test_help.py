"""`clawbus --help`: every command in it, each on its line; and what is said of a command that there is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

import click
import pytest

from clawbus.cli import cli, demo, learning, send
from clawbus.demo.stage import KILLS
from clawbus.gateway.setup.managed_gateway import SCRIPTED
from clawbus.tasks.learning import State
from clawbus.wire.envelope import MessageType
from tests.command import clawbus, refused

ROOT = Path(__file__).parents[2]
CONTEXT = click.Context(cli)
NAMES = cli.list_commands(CONTEXT)
HEAVY = ["nats", "cryptography", "nacl", "websockets.asyncio", "websockets.client", "pydantic"]


def test_the_list_names_each_command_once_on_a_line_of_its_own(tmp_path: Path) -> None:
    """Nothing is cut with dots, as click does it, in a terminal of 80 columns."""
    said = clawbus("--help", folder=tmp_path).stdout
    assert [sum(line.startswith(f"  {name} ") for line in said.splitlines()) for name in NAMES] == [1] * len(NAMES)
    assert "..." not in said.partition("\nBegin:")[2]
    assert max(map(len, said.splitlines())) <= 80


def test_the_list_is_printed_without_loading_what_the_commands_need() -> None:
    look = "import sys\nfrom clawbus.cli import main\ntry: main(['--help'])\nfinally: print('pydantic' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert run.stdout.endswith("False\n")


def test_a_commands_options_are_known_without_loading_what_its_work_needs() -> None:
    """`clawbus NAME --help` of all but four, which take their time."""
    look = f"""
import sys, click
from clawbus.cli import cli
for name in {[*NAMES, "node", "registrar"]}:
    if name not in ("check", "up", "plan", "apply"):
        cli.get_command(click.Context(cli), name)
print([name for name in {HEAVY} if name in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_check_reads_a_company_without_loading_what_speaks_to_others(tmp_path: Path) -> None:
    """No nats, no cryptography, no WebSocket client: a company is looked at, and nobody is asked."""
    (tmp_path / "org.toml").write_text((ROOT / "examples/duo/org.toml").read_text())
    heavy = [name for name in HEAVY if name != "pydantic"]
    look = f"""
import sys
from clawbus.cli import main
try: main(["check"])
finally: print([name for name in {heavy} if name in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", look], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.endswith("\n[]\n")


def test_the_words_that_an_option_takes_are_those_of_the_code() -> None:
    """They stand in the command, too, so that its help loads nothing."""
    assert get_args(MessageType) == send._TYPES
    assert get_args(State) == learning._STATES
    assert tuple(KILLS) == demo._KILLS
    assert demo._SCRIPTED == SCRIPTED


@pytest.mark.parametrize("name", NAMES)
def test_each_command_says_what_it_does_and_stands_in_the_documents(name: str) -> None:
    command = cli.get_command(CONTEXT, name)
    assert command is not None
    assert command.help
    assert "..." not in command.get_help(click.Context(command)).partition("Commands:")[2]
    assert f"`{name}" in (ROOT / "docs/cli.md").read_text()


def test_a_misspelt_command_is_told_its_neighbour(tmp_path: Path) -> None:
    refused(clawbus("tsks", folder=tmp_path), 2, "no such command: 'tsks'. Did you mean 'tasks'?")
