"""The parts of a process get what they need in their constructors: what is set later can be forgotten."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from clawbus.errors import NotBegun
from clawbus.gateway import GatewayRpc
from tests.syntax import parsed

ROOT = Path(__file__).parents[2] / "plugin" / "clawbus"
STAY = {
    ("client/company.py", "signers"),  # of a bus that is just being made, by whoever knows the company's keys
    ("client/company.py", "store"),
    ("client/company.py", "on_leak"),
    ("node/ledger/sqlite_file.py", "folder"),  # sqlite3 makes the connection itself
    ("node/ledger/sqlite_file.py", "row_factory"),
}
SAID = "remedy"
"""Of an error on its way up: whoever knows more adds it."""


def set_from_outside(path: Path) -> Iterator[str]:
    """The attributes that a module sets on anything but `self`."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign | ast.AugAssign):
            targets = [node.target]
        else:
            continue
        for target in targets:
            parts = [part for part in ast.walk(target) if isinstance(part, ast.Attribute)]
            yield from (
                one.attr for one in parts if isinstance(one.ctx, ast.Store) and ast.unparse(one.value) != "self"
            )


def test_no_part_is_finished_from_outside() -> None:
    found = {
        (str(path.relative_to(ROOT)), name)
        for package in ("node", "client", "cli")
        for path in (ROOT / package).rglob("*.py")
        for name in set_from_outside(path)
        if name != SAID
    }
    assert found <= STAY


def test_no_part_of_a_node_begins_something_by_default() -> None:
    """A callable that is forgotten must be missing: a lambda in its place would say yes."""
    for path in (ROOT / "node").rglob("*.py"):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.arguments):
                defaults = [*node.defaults, *(one for one in node.kw_defaults if one is not None)]
                assert not any(isinstance(one, ast.Lambda) for one in defaults), path
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute):
                assert not isinstance(node.value, ast.Lambda), f"{path}: {node.target.attr}"


def test_a_connection_that_nobody_checks_begins_no_turn() -> None:
    with pytest.raises(NotBegun):
        GatewayRpc(1, Path("none")).may_begin("cto")
