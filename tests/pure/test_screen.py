"""The demo's screen: readable anywhere, and nothing that an agent wrote acts on the terminal."""

from __future__ import annotations

import io
import time
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from clawbus.cli.screen import Screen, Style, detect, final_lines, flow_lines
from clawbus.client.watch import WatchEvent
from clawbus.wire.envelope import Status
from clawbus.wire.events import Kind
from clawbus.wire.sanitize import inert

START = datetime(2026, 11, 21, 1, 38, tzinfo=UTC)
TASK = "a2b3c4d5e6f7abcdefghijklmn"


def event(kind: str = "started", detail: str = "attempt 1 of 3", after_s: float = 1.5) -> WatchEvent:
    return WatchEvent(START + timedelta(seconds=after_s), kind, TASK, "ceo-genesis", "cto-athena", detail)


def test_a_line_says_when_who_to_whom_which_task_and_state() -> None:
    """All that a person needs to follow, in one line."""
    lines = flow_lines(event(), START, Style())
    assert lines == ["   1.50 s  ceo-genesis → cto-athena     a2b3c4d5  running      attempt 1 of 3"]


def test_narrow_terminal_gets_two_lines() -> None:
    """At 40 columns nothing is lost but the end of the detail."""
    lines = flow_lines(event(detail="x" * 50), START, Style(width=40))
    assert lines == ["1.50 s a2b3c4d5 running", f"  ceo-genesis → cto-athena: {'x' * 11}…"]


def test_ascii_terminal_gets_ascii() -> None:
    """Where the arrow cannot be printed it is written."""
    lines = flow_lines(event(detail="é"), START, Style(unicode=False))
    assert lines[0].isascii()
    assert "ceo-genesis -> cto-athena" in lines[0]
    assert r"\xe9" in lines[0]


@pytest.mark.parametrize("kind", [k for k in (*get_args(Kind), *get_args(Status)) if k != "ended"])
def test_every_state_has_a_word_and_colour_stays_around_it(kind: str) -> None:
    """Without colour the same line, without a single escape."""
    plain = flow_lines(event(kind, "attempt 1"), START, Style())[0]
    coloured = flow_lines(event(kind, "attempt 1"), START, Style(colour=True))[0]
    assert "\x1b" not in plain
    assert "".join(coloured.replace("\x1b[0m", "").split("\x1b[")).count("attempt 1") == 1
    assert not coloured.endswith("m")


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("a\rb", r"a\rb"),
        ("\u202eevil\u2066", r"\u202eevil\u2066"),
        ("\x9b31m\x00\x7f", r"\x9b31m\x00\x7f"),
        ("a\u2028b", r"a\u2028b"),
        ("\ud800", r"\ud800"),
        ("line\r\n\ttwo", "line\n\ttwo"),
        ("naïve 文件 👩\u200d💻", "naïve 文件 👩\u200d💻"),
    ],
)
def test_hostile_text_becomes_visible(hostile: str, shown: str) -> None:
    """Escapes, controls and direction marks are shown, not obeyed; honest text stays as it is."""
    assert inert(hostile) == shown


@given(st.text(), st.integers(min_value=20, max_value=200), st.booleans(), st.booleans())
def test_nothing_acts_on_the_terminal(text: str, width: int, colour: bool, unicode: bool) -> None:
    """Whatever an agent writes in any field, each line fits and only our own colour codes act."""
    style = Style(width, colour, unicode)
    hostile = WatchEvent(START, "progress", text, text, text, text)
    lines = [line.replace("\x1b[2m", "").replace("\x1b[0m", "") for line in flow_lines(hostile, START, style)]
    lines += final_lines(text, text, ["clawbus tasks"], style)
    for line in "\n".join(lines).split("\n"):
        assert not [c for c in line if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") and c != "\t"]
        assert unicode or line.isascii()


@given(st.text(max_size=60), st.text(max_size=90))
def test_a_line_fits_the_terminal(detail: str, to: str) -> None:
    """Wide letters count twice, and where only ASCII can be printed a letter is its escape."""
    for width in (40, 80):
        for unicode in (True, False):
            said = WatchEvent(START, "started", TASK, "ceo-genesis", to, detail)
            assert all(cell_len(line) <= width for line in flow_lines(said, START, Style(width, unicode=unicode)))


@pytest.mark.parametrize("letter", ["x", "\u6f22", "\x1b", "e\u0301", "\n"])
@pytest.mark.parametrize("width", [40, 80])
def test_the_longest_message_is_a_line_at_once(letter: str, width: int) -> None:
    """As long as a message can be: `clawbus up` starts nothing again while it writes a line. Measured: 14 ms."""
    long = letter * 900_000
    began = time.process_time()
    lines = flow_lines(WatchEvent(START, "progress", TASK, "ceo-genesis", long, long), START, Style(width))
    assert time.process_time() - began < 1.0
    assert all(cell_len(line) <= width for line in lines)


def test_a_letter_with_marks_takes_one_column() -> None:
    """What fits is not cut: a mark has no column of its own."""
    fits = flow_lines(event(detail="e\u0301" * 12), START, Style(width=40))[1]
    assert fits.endswith(": " + "e\u0301" * 12)


def test_end_shows_report_timeline_and_what_to_try() -> None:
    """The report keeps its lines; the commands can be copied."""
    lines = final_lines("Found 1 use\n- a.js:1", "/tmp/x.jsonl", ["clawbus tasks", "clawbus task show a2"], Style())
    assert lines[1:4] == ["Report", "  Found 1 use", "  - a.js:1"]
    assert "Timeline: /tmp/x.jsonl" in lines
    assert lines[-2:] == ["  clawbus tasks", "  clawbus task show a2"]


def test_screen_appends_and_flushes_line_by_line() -> None:
    """In a pipe each event is there as soon as it happened."""
    stream = io.StringIO()
    screen = Screen(stream, START)
    screen.say("Model: scripted")
    screen.show(event())
    first = stream.getvalue()
    screen.finish("ok", "t", ["c"])
    assert first.count("\n") == 2
    assert stream.getvalue().startswith(first)


def test_a_pipe_gets_no_colour() -> None:
    """Colour codes belong to terminals."""
    assert detect(io.TextIOWrapper(io.BytesIO(), "utf-8")) == Style(100, colour=False, unicode=True)
    assert detect(io.TextIOWrapper(io.BytesIO(), "ascii")).unicode is False
