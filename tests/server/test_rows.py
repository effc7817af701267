"""The rows: each file claims what it may claim, the page of them all is up to date, and the machine that tries the breaks works."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests import breaks
from tests.rows import table
from tests.rows.copies import Copy, snapshot
from tests.rows.table import Break, Row

NAMES = [path.stem for path in table.row_files()]
MODULE = "plugin/clawbus/wire/sanitize.py"


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return snapshot(tmp_path / "copy")


def a_row(fault: Break, *tests: str) -> Row:
    return Row.model_validate(
        {"row": "a1", "tests": tests or ("tests/test_a.py::test_a1_x",), "break": fault.model_dump()}
    )


def fault(old: str, new: str, file: str = MODULE) -> Break:
    return Break(what="x", file=file, old=old, new=new)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_has_its_tests_and_a_break_that_can_be_applied(name: str) -> None:
    """Tests that bear its name; a fault that stands once in the product, compiles, and names only what exists."""
    assert [*table.mistakes(table.load(table.ROWS / f"{name}.toml"), name)] == []


def test_the_page_of_the_rows_is_up_to_date() -> None:
    """If not: python -m tests.breaks --table"""
    assert table.PAGE.read_text() == table.table()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("no such text", "x", "stands 0 times"),
        ("\n", "\n\n", "stands"),
        ("def inert(", "def inert(", "`new` is `old`"),
        ("def inert(", "def inert", "of the broken file"),
        ("def inert(", "nobody()\ndef inert(", "Undefined name `nobody`"),
    ],
)
def test_a_break_that_would_turn_any_test_red_is_refused(old: str, new: str, said: str) -> None:
    """Not there, nothing changed, no Python, a name that does not exist."""
    found = [*table.mistakes(a_row(fault(old, new)), "a1")]
    assert any(said in mistake for mistake in found), found


def test_a_row_cannot_be_claimed_with_others_tests() -> None:
    """Not with a test that bears another name, none that does not exist, none without the gateways that it needs."""
    break_ = fault("def inert(", "def inert_(")
    others = a_row(break_, "tests/pure/test_house.py::test_every_relative_link_of_the_documents_leads_somewhere")
    assert any("must begin test_a1_" in mistake for mistake in table.mistakes(others, "a1"))
    absent = a_row(break_, "tests/pure/test_house.py::test_a1_x")
    assert any("no such function" in mistake for mistake in table.mistakes(absent, "a1"))
    bare = absent.model_copy(update={"row": "c4"})
    assert any("real gateways" in mistake for mistake in table.mistakes(bare, "c4"))
    assert any(
        "no row of rows.toml" in mistake for mistake in table.mistakes(bare.model_copy(update={"row": "z9"}), "z9")
    )


def test_a_break_reaches_every_process(copy: Copy) -> None:
    """The copy's clawbus is found whatever the folder and the environment; the checkout's is out of reach."""
    copy.write(fault("__version__ = ", '__version__ = "broken" or ', "plugin/clawbus/__init__.py"))
    for options in ([], ["-P"], ["-I"]):
        argv = [str(copy.python), *options, "-m", "clawbus", "--version"]
        said = subprocess.run(argv, cwd="/", env={}, capture_output=True, text=True, check=True).stdout
        assert "broken" in said


@pytest.mark.parametrize(
    ("test", "noticed"),
    [
        ("def test_a1_x() -> None:\n    assert inert('a') == 'a'", True),
        ("def test_a1_x() -> None:\n    assert True", False),
        ("def test_a1_x(nothing) -> None:\n    assert inert('a') == 'a'", False),
        ("import nothing\ndef test_a1_x() -> None:\n    assert False", False),
    ],
)
def test_only_a_failure_counts(copy: Copy, test: str, noticed: bool) -> None:
    """Green, an error in a fixture, an error while pytest collects: none of them has noticed the break."""
    (copy.tree / "tests" / "test_a.py").write_text(f"from clawbus.wire.sanitize import inert\n{test}\n")
    copy.write(fault("def inert(", "def inert(text: str) -> str:\n    return ''\n\n\ndef _inert("))
    run = breaks.pytest(copy, ["tests/test_a.py::test_a1_x"])
    assert breaks.verdict(run)[0] is noticed, run.output
