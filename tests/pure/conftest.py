"""Tests of this folder start nothing: no server, no node, no program. `make quick` runs them all."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

_STARTS = ("subprocess.Popen", "os.posix_spawn", "os.fork", "os.exec", "os.system")
_running: set[str] = set()
"""The test of this folder that runs now, if one does."""


def _refuse_programs(event: str, args: tuple[Any, ...]) -> None:
    if _running and event in _STARTS:
        raise AssertionError(f"{next(iter(_running))} starts a program, {args[0]!s}: its place is tests/server")


sys.addaudithook(_refuse_programs)  # no hook can be taken away again, so this one looks at the running test


@pytest.fixture(autouse=True)
def starts_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    _running.add(request.node.nodeid)
    yield
    _running.clear()
