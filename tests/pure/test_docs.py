"""The documents: each example in them is checked as far as nothing has to run, and each list in them is whole."""

from __future__ import annotations

import ast
import inspect
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

import click
import pytest
from nats.aio.client import Client as NatsClient

import clawbus
from clawbus import Client, Result, Task
from clawbus.cli import cli
from clawbus.org.load import parse as parse_org
from clawbus.tasks.board import _STATE
from clawbus.wire.channels import CHANNELS, STREAMS
from clawbus.wire.envelope import Envelope, Status

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
GENERATED = ("rows.md", "tools.md")
_BLOCK = re.compile(
    r"^(?P<mark><!-- not run: .+ -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_OTHERS = {
    "make",
    "cd",
    "mkdir",
    "git",
    "python3",
    "nats",
    "openclaw",
    "for",
    "do",
    "done",
    ".venv/bin/python",
    ".venv/bin/pre-commit",
}
OBJECTS = {"client": Client, "result": Result, "task": Task, "nc": NatsClient}
"""What the names of Python examples stand for."""
SIZES = {stream.name: stream.size_mib for stream in STREAMS}
"""A page that shows `[streams]` shows the defaults."""


class Block(NamedTuple):
    """A fenced block: its page and first line, its language, what stands in it."""

    place: str
    language: str
    text: str


def blocks(*languages: str) -> list[Any]:
    """The fenced blocks of these languages that have no mark, as parameters of a test."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in _BLOCK.finditer(text):
            if match["language"] in languages and not match["mark"]:
                place = f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}"
                found.append(pytest.param(Block(place, match["language"], match["text"]), id=place))
    return found


def inline(page: Path) -> list[str]:
    """The code within the sentences of a page."""
    return _INLINE.findall(_BLOCK.sub("", page.read_text()).replace("\\|", "|"))


def test_each_block_has_a_language_that_is_checked_or_is_no_code() -> None:
    """Nobody escapes the checks by a misspelt language; pictures and printed output have none."""
    languages = {match["language"] for page in PAGES for match in _BLOCK.finditer(page.read_text())}
    assert languages <= {"", "mermaid", "sh", "toml", "python", "json"}


def completed(fragment: dict[str, Any]) -> dict[str, Any]:
    """A whole company with a fragment of org.toml in it: each gateway has an agent, each member of a pool exists."""
    whole: dict[str, Any] = {"company": "acme", "gateways": [{"id": "hq", "port": 18789}], "humans": [{"id": "owner"}]}
    whole["agents"] = [{"id": "ceo", "role": "role-ceo", "gateway": "hq"}]
    for key, value in fragment.items():
        whole[key] = [*whole.get(key, []), *value] if isinstance(value, list) else value
    homes = {agent["gateway"] for agent in whole["agents"]}
    whole["agents"] += [
        {"id": f"of-{one['id']}", "gateway": one["id"]} for one in whole["gateways"] if one["id"] not in homes
    ]
    members = {member for pool in whole.get("pools", []) for member in pool["members"]}
    missing = members - {agent["id"] for agent in whole["agents"]}
    whole["agents"] += [{"id": member, "gateway": "hq"} for member in sorted(missing)]
    return whole


@pytest.mark.parametrize("block", blocks("toml"))
def test_each_toml_block_is_part_of_an_org_file(block: Block) -> None:
    """Every field in it exists, and takes that value. What is commented out, as `# name = value`, does so, too."""
    fragment = tomllib.loads(re.sub(r"^# (?=\w+ = )", "", block.text, flags=re.MULTILINE))
    assert fragment
    parse_org(completed(fragment))
    assert {name.upper(): size for name, size in fragment.get("streams", {}).items()}.items() <= SIZES.items()


@pytest.mark.parametrize("block", blocks("python"))
def test_each_python_block_uses_what_there_is(block: Block) -> None:
    """It compiles; what it imports of clawbus exists; its calls fit the client's methods, parameter by parameter."""
    tree = compile(block.text, block.place, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "clawbus":
            assert {alias.name for alias in node.names} <= set(clawbus.__all__)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in OBJECTS:
            assert hasattr(OBJECTS[node.value.id], node.attr), f"{block.place}: {ast.unparse(node)}"
        if isinstance(node, ast.Call) and (called := _callee(node.func)) is not None:
            words = {word.arg: None for word in node.keywords if word.arg}
            inspect.signature(called).bind_partial(*[None] * len(node.args), **words)


def _callee(function: ast.expr) -> Any:
    """What a call in an example calls, where that is ours to check; methods with their `self` bound."""
    if isinstance(function, ast.Name) and function.id in ("connect", "serve"):
        return getattr(clawbus, function.id)
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id in OBJECTS:
        return getattr(OBJECTS[function.value.id], function.attr).__get__(object())
    return None


def test_the_table_of_the_clients_calls_is_true() -> None:
    """docs/python.md: each method there exists, with each parameter that the table names."""
    page = (ROOT / "docs" / "python.md").read_text()
    table = re.search(r"^\| call of the client .*?\n\n", page, re.MULTILINE | re.DOTALL)
    assert table is not None
    calls = [
        call
        for row in table[0].strip().splitlines()[2:]
        for call in re.findall(r"`(\w+)\(([^`)]*)\)`", row.split("|")[1])
    ]
    assert len(calls) > 10
    for name, parameters in calls:
        known = inspect.signature(getattr(Client, name)).parameters
        given = {word.strip().rstrip("=") for word in parameters.split(",")} - {""}
        assert {"task_id" if word == "id" else word for word in given} <= set(known), name


def commands(text: str) -> Iterator[list[str]]:
    """The single commands of a shell block, each as its words, without comments."""
    for line in text.splitlines():
        words: list[str] = []
        for word in _words(line):
            if word and set(word) <= set(";&|"):
                yield words
                words = []
            else:
                words.append(word)
        if words:
            yield words


def _words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    return list(lexer)


def parsed(words: list[str]) -> None:
    """Parse a command line of clawbus without running it. Raises click's errors."""
    command, name, parent = cli, "clawbus", None
    while True:
        context = command.make_context(name, list(words), parent=parent)
        if not isinstance(command, click.Group):
            return
        found, below, words = command.resolve_command(context, [*context._protected_args, *context.args])
        assert below is not None
        command, name, parent = below, found or "", context  # type: ignore[assignment]


@pytest.mark.parametrize("block", blocks("sh"))
def test_each_shell_block_calls_commands_that_there_are(block: Block) -> None:
    """clawbus parses its own; make has the targets; of others only the program is known, and JSON in it is JSON."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for words in commands(block.text):
        program, *rest = words
        if program == "clawbus":
            parsed(rest)
        elif program == "make":
            assert rest[0] in targets, words
        else:
            assert program in _OTHERS, f"{block.place}: {words}"
        for word in rest:
            if word.startswith("{"):
                json.loads(word)


def options(command: click.Command) -> set[str]:
    """All that a command takes that begins with a dash, and its sub-commands with it."""
    found = {name for one in command.params for name in (*one.opts, *one.secondary_opts) if name.startswith("-")}
    context = click.Context(command)
    below = (
        [command.get_command(context, name) for name in command.list_commands(context)]
        if isinstance(command, click.Group)
        else []
    )
    return found.union({"--help"}, *(options(one) for one in below if one is not None))


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in GENERATED], ids=lambda page: page.name)
def test_what_sentences_say_of_commands_and_json_is_true(page: Path) -> None:
    """`clawbus NAME --option` in a sentence: the command and each option exist. What looks like JSON is JSON."""
    for code in inline(page):
        words = code.split()
        if words[0] == "clawbus" and len(words) > 1 and re.fullmatch(r"[a-z]+", words[1]):
            command = cli.get_command(click.Context(cli), words[1])
            assert command is not None, code
            assert set(re.findall(r"(?<![\w-])--[a-z-]+", code)) <= options(command), code
        fields_only = re.search(r'[{,]\s*"\w+"\s*[,}]', code)  # a list of names, as {"v","reason"}
        if code.startswith("{") and '":' in code and not fields_only:
            value = json.loads(re.sub(r"(?<=[:,] )(…|N)(?=[,}])", '"…"', code))
            if "v" in value and value.get("type") in ("task", "message", "result"):
                Envelope.model_validate(value)


def test_the_table_of_commands_is_true() -> None:
    """docs/cli.md: each command, and each option, of its first column exists."""
    page = (ROOT / "docs" / "cli.md").read_text()
    rows = re.search(r"^\| command \| does \|\n(.*?)\n\n", page, re.MULTILINE | re.DOTALL)
    assert rows is not None
    for row in rows[1].splitlines()[1:]:
        cell = row.replace("\\|", "/").split("|")[1]
        for code in _INLINE.findall(cell):
            command = cli.get_command(click.Context(cli), code.split()[0])
            assert command is not None, code
            assert set(re.findall(r"--[a-z-]+", code)) <= options(command), code


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name != "adr"], ids=lambda page: page.name)
def test_each_file_that_a_page_names_exists(page: Path) -> None:
    """Paths of the repository, or below plugin/clawbus; `tests/x.py::test` is one, too. A decision may name what was."""
    for code in inline(page):
        path = code.partition("::")[0]
        if re.fullmatch(
            r"(plugin|tests|docs|souls|skills|examples|requirements|[a-z_]+)/[\w/.*-]+\.(py|js|mjs|md|toml|lock)", path
        ):
            found = any(any(root.glob(path)) for root in (ROOT, ROOT / "plugin", ROOT / "plugin" / "clawbus"))
            assert found, f"{page.name}: {path}"


def test_the_way_of_a_task_enters_the_packages_that_the_page_counts() -> None:
    """docs/architecture.md: the packages of the files on the way are those of its sentence, in the same number."""
    way = (ROOT / "docs" / "architecture.md").read_text().partition("## The way of a task")[2].partition("\n## ")[0]
    entered = {path.split("/")[0] for path in re.findall(r"`([a-z_]+/[\w/]+\.py)`", way)} - {"tests"}
    sentence = re.search(r"enters six packages: (.*)\.", way)
    assert sentence is not None
    assert (set(re.findall(r"`(\w+)`", sentence[1])), len(entered)) == (entered, 6)


def test_the_index_of_decisions_is_whole() -> None:
    """A row for each number up to the last: its page and a status, or why there is no page."""
    folder = ROOT / "docs" / "adr"
    pages = {int(path.name[:4]): path.name for path in folder.glob("[0-9]*.md")}
    rows = dict(re.findall(r"^\| (\d+) \| (.+) \|$", (folder / "README.md").read_text(), re.MULTILINE))
    assert [int(number) for number in rows] == list(range(1, max(pages) + 1))
    for number, row in rows.items():
        name, status, line = re.split(r" \| ", row)
        page = pages.get(int(number))
        assert status.startswith(("accepted", "superseded by")) if page else status == "never used"
        assert f"({page})" in name if page else name == "no page"
        assert line
        if page is not None:
            assert (folder / page).read_text().startswith(f"# {number}. ")
            assert ("Superseded by" in (folder / page).read_text()) == status.startswith("superseded")


def test_the_protocol_names_every_channel_and_stream() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text()
    assert [row.name for row in CHANNELS if f"<company>.{row.name}." not in page] == []
    assert [stream.name for stream in STREAMS if not re.search(rf"\b{stream.name}\b", page)] == []


def test_the_glossary_has_every_state() -> None:
    page = (ROOT / "docs" / "glossary.md").read_text().partition("## States")[2]
    assert {state for state in {*_STATE.values(), *get_args(Status)} if f"`{state}`" not in page} == set()


def test_no_page_and_no_test_names_a_list_that_is_not_here() -> None:
    """Letters with numbers are rows of docs/rows.md, which begin with A, C, G, K or N."""
    files = [*PAGES, *(ROOT / "plugin").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    named = re.compile(r"(?<![\w-])[FSU]\d{1,2}(?![\w-])|\btest_[fsu]\d{1,2}_")
    assert [str(path) for path in files if path != Path(__file__) and named.search(path.read_text())] == []
