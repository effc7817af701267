"""Every place that shows others' words goes through the one function for terminals, or the one for prompts."""

from __future__ import annotations

import ast
import io
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from rich.console import Console

from clawbus.cli.screen import Screen, Style
from clawbus.client.watch import WatchEvent
from clawbus.ops.doctor import Check, render
from tests.corpus import CASES
from tests.server.test_hostile_text import acting
from tests.syntax import parsed

PACKAGE = Path(__file__).parents[2] / "plugin" / "clawbus"

_PRINTS = {"click.echo", "click.secho", "click.echo_via_pager", "print", "sys.stdout.write", "sys.stderr.write"}
_MAY_PRINT = {
    "cli/output.py",  # through `inert`
    "gateway/setup/nodejs.py",  # a program of its own, which the shell starts; it says where Node is
    "node/tools/generate.py",  # a tool of the developers
    "demo/model/server.py",  # a program of its own, for tests: the port that it listens on
}
_WORDS = {
    "body",
    "subject",
    "label",
    "text",
    "name",
    "note",
    "uri",
    "what",
    "reported",
    "progress",
    "steered",
    "message",
}
"""Attributes that hold others' words, whatever they belong to."""
_SAFE = {"harmless", "inert", "fence", "message", "wake", "task", "steer", "result", "results", "files", "line_of"}
_LOGGING = ("basicConfig", "addHandler", "setFormatter")
_PROMPT_PARTS = ("tools", "mailbox", "worker")
_ELSEWHERE = {
    "node/mailbox/announcer.py::_fitting": "a body, which `frames.result` frames",
    "node/mailbox/attachments.py::_line": "a line of `frames.files`",
    "node/worker/insights.py::_line": "a line of the lessons, which `frames.task` frames",
    "tasks/dead_letters.py::malformed": "no prompt: the address of a letter",
    "tasks/new_message.py::make_answer": "no prompt: the subject of a message, framed where it arrives",
    "node/worker/oversight.py::_files": "no prompt: what a person is asked about, made inert line by line",
    "node/worker/chat_notifier.py::take": "no prompt: a log, and a message to a person",
    "node/worker/artifact_check.py::of": "no prompt: the body of a result, framed where it arrives",
    "node/tools/generate.py::documentation": "no prompt: a page about the tools",
    "node/tools/dispatch.py::call": "an answer that its tool has made harmless",
    "node/tools/params.py::_explain": "an error, made harmless in `Tools.call`",
    "node/tools/backoff.py::refused": "an answer that its tool has made harmless",
    "node/tools/call_gate.py::may": "no prompt: what a tool of the gateway may do",
}


def _trees(*parts: str) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = str(path.relative_to(PACKAGE))
        if not parts or name.startswith(tuple(f"{part}/" for part in parts)):
            yield name, parsed(path)


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def test_only_one_module_prints() -> None:
    """Also as a callback: whoever hands `click.echo` on prints past the one function."""
    found = {
        f"{name}:{node.lineno} {_dotted(node)}"
        for name, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute) and _dotted(node) in _PRINTS and name not in _MAY_PRINT
    }
    assert found == set()


def test_what_that_module_prints_goes_through_the_one_function() -> None:
    ((_, tree),) = [one for one in _trees("cli") if one[0] == "cli/output.py"]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _dotted(node.func) == "click.echo"]
    printed = [call.args[0] for call in calls]
    assert len(printed) >= 3
    assert all(isinstance(one, ast.Call) and _dotted(one.func) in ("inert", "inert_json") for one in printed)


def test_every_log_line_goes_through_the_one_function() -> None:
    """Nobody but the command line sets up logging, and it does with the formatter that makes lines inert."""
    setups = [
        (name, node)
        for name, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _dotted(node.func).split(".")[-1] in _LOGGING
    ]
    assert {name for name, _ in setups} == {"cli/__init__.py"}
    formatters = [node.args[0] for _, node in setups if _dotted(node.func).endswith("setFormatter")]
    assert [_dotted(one.func) for one in formatters if isinstance(one, ast.Call)] == ["InertFormatter"]


def test_nobody_parses_what_came_but_the_one_reader() -> None:
    """`json.loads` guesses encodings, takes NaN and a key twice, and breaks off on deep nesting."""
    own = {
        "wire/strict_json.py": "the reader",
        "bus/bus.py": "answers of the server",
        "tasks/guests.py": "guests: whatever it is, it is a text",
    }
    own |= {f"node/ledger/{name}.py": "own rows" for name in ("sent", "wakes", "runs", "interrupted")} | {
        "gateway/setup/souls.py": "own file"
    }
    own |= {"node/mailbox/outbox.py": "own rows"}
    own |= {
        "ops/up/control_file.py": "own file",
        "ops/supervisor/pid_files.py": "own file",
        "steward/context.py": "the steward's own",
    }
    own |= {
        f"provision/{name}.py": "own files, and answers of the server"
        for name in ("account_push", "authority", "ports", "stream_health", "withdrawn_rights")
    }
    own |= {"wire/redaction.py": "the first part of a token, 192 bytes at most, of which one word is looked at"}
    own |= {
        "bus/jwt.py": "own tokens",
        "bus/verifier.py": "the provisioner's keys",
        "provision/key_directory.py": "the same",
    }
    own |= {"bus/signing.py": "a header, which must be the canonical form of what was read, to the letter"}
    own |= {"ops/enrol/org_sync.py": "the registrar's answers", "ops/enrol/registrar_process.py": "its own answer"}
    own |= {
        "ops/apply/preview.py": "a gateway's settings",
        "provision/credential_service.py": "what ops/enrol/registrar_process.py has read already; the registrar's answers",
    }
    found = {
        name
        for name, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _dotted(node.func) in ("json.loads", "json.load")
        if not name.startswith(("demo/", "gateway/"))  # what is no bus: the gateway's own answers
    }
    assert found - set(own) == set()


def _bare_words(tree: ast.Module) -> Iterator[str]:
    """Functions that put others' words into an f-string past the functions that make them harmless."""

    def look(node: ast.AST, function: str, in_text: bool) -> Iterator[str]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            function = node.name
        if isinstance(node, ast.Raise):  # an error's text is made harmless where it is answered
            return
        if isinstance(node, ast.Call):
            called = _dotted(node.func).split(".")
            if called[-1] in _SAFE or called[0] == "log":
                return
        if in_text and isinstance(node, ast.Attribute) and node.attr in _WORDS:
            yield function
        for child in ast.iter_child_nodes(node):
            yield from look(child, function, in_text or isinstance(node, ast.FormattedValue))

    yield from look(tree, "", False)


def test_no_tool_and_no_turn_says_others_words_bare() -> None:
    found = {f"{name}::{function}" for name, tree in _trees(*_PROMPT_PARTS) for function in _bare_words(tree)}
    assert found <= set(_ELSEWHERE)


def test_every_body_in_a_frame_stands_within_its_marks() -> None:
    """In frames.py no body, subject or line stands in a text but within `fence` or `_line`."""
    ((_, tree),) = [one for one in _trees() if one[0] == "node/prompts/frames.py"]
    bare = [
        f"{node.lineno}"
        for node in ast.walk(tree)
        if isinstance(node, ast.FormattedValue)
        for part in [node.value]
        if _dotted(part).rpartition(".")[2] in ("body", "text", "lessons") or _dotted(part).endswith(".subject")
    ]
    assert bare == []
    ((fence,),) = [[one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == "fence"]]
    assert "harmless(body)" in ast.unparse(fence)


@pytest.mark.parametrize("style", [Style(120, False, True), Style(40, False, False), Style(120, True, True)])
def test_the_flow_on_a_screen_is_inert(style: Style) -> None:
    """`clawbus up` and the demo: each event is its line or its two, whoever it names and whatever it says."""
    at, lines = datetime.now().astimezone(), 2 if style.width < 76 else 1
    for case in CASES:
        stream = io.StringIO()
        Screen(stream, at, style).show(WatchEvent(at, "progress", "a" * 26, case.text, case.text, case.text))
        shown = stream.getvalue().replace("\x1b[2m", "").replace("\x1b[0m", "") if style.colour else stream.getvalue()
        assert acting(shown) == [], case
        assert shown.count("\n") == lines, case


def test_the_doctors_report_is_inert() -> None:
    """What a gateway or a server says of itself: no markup of rich, no escape."""
    for case in CASES:
        stream = io.StringIO()
        render([Check("gateway hq", False, case.text, case.text)], Console(file=stream, width=400))
        assert acting(stream.getvalue()) == [], case
        if case.family == "markup":
            assert stream.getvalue().count(case.text) == 2
