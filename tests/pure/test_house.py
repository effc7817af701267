"""The rules of the house that a program can check."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from clawbus.steward.duties import DUTIES
from tests.syntax import parsed

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "plugin" / "clawbus").rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_small_and_says_what_it_is_for(path: Path) -> None:
    """At most 400 lines (one thought), functions of at most 45, a docstring; only `settings` reads the environment."""
    text = path.read_text()
    tree = parsed(path)
    assert text.count("\n") <= 400
    assert ast.get_docstring(tree)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert [one.name for one in functions if (one.end_lineno or 0) - one.lineno > 45] == []
    assert path.name == "settings.py" or not re.search(r"os\.(environ|getenv)\b", text)


def test_the_shim_holds_nothing_that_the_gateways_audit_calls_dangerous() -> None:
    """No child process, no environment, no eval, no dependency."""
    shim = (ROOT / "plugin" / "openclaw" / "index.js").read_text()
    assert not re.search(r"child_process|process\.env|\beval\b|new Function", shim)
    assert {name for name in re.findall(r'from "([^"]+)"', shim) if not name.startswith((".", "node:"))} == set()


def test_every_relative_link_of_the_documents_leads_somewhere() -> None:
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        for link in re.findall(r"\]\(([\w./-]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_each_file_of_duties_is_one_duty_with_a_rule_of_its_own() -> None:
    files = {path.stem for path in MODULES if path.parent.name == "duties"} - {"__init__"}
    assert {duty.__module__.rsplit(".", 1)[1] for duty in DUTIES} == files
    assert len({duty.rule for duty in DUTIES}) == len(DUTIES)


def test_the_package_has_twenty_entries_at_most() -> None:
    """Who looks for the place of a thing reads one list of packages. A new one needs a reason."""
    package = ROOT / "plugin" / "clawbus"
    packages = {path.parent.relative_to(package).parts[0] for path in MODULES if path.parent != package}
    files = {path.name for path in package.iterdir() if path.is_file()}
    assert len(packages | files) <= 20
