"""The command line for tests. `clawbus` calls its entry in this process: a process of its own costs a second of imports.

Arguments, streams and exit code are those of a process. Where the process is the point (signals, a closed pipe, what is
imported), a test starts `python -m clawbus` itself.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO
from unittest import mock

import pytest

from clawbus.cli import main

_LOGGERS = ("", "asyncio", "websockets")
_one_at_a_time = threading.Lock()


def clawbus(
    *args: str, folder: Path | None = None, env: Mapping[str, str] | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Call the command line, in `folder` if one is given. An exception that `main` does not turn into words is raised.

    It may be called in a thread beside a running event loop, but then without `folder`: that is the whole process's.
    """
    with _one_at_a_time, contextlib.ExitStack() as stack:
        enter = stack.enter_context
        stdin_, stdout, stderr = enter(_stream()), enter(_stream()), enter(_stream())
        stdin_.write(stdin)
        stdin_.seek(0)
        enter(mock.patch.dict(os.environ, {"COLUMNS": "80"} | dict(env or {})))
        enter(mock.patch.multiple(sys, stdin=stdin_, stdout=stdout, stderr=stderr))
        enter(_process_state())
        if folder:
            enter(contextlib.chdir(folder))
        code = _exit_code(args)
        return subprocess.CompletedProcess([*args], code, _content(stdout), _content(stderr))


def _stream() -> IO[str]:
    """A file with a descriptor, which a command that runs on and on writes to directly."""
    return tempfile.TemporaryFile("w+", encoding="utf-8", newline="")


def _exit_code(args: tuple[str, ...]) -> int:
    with pytest.raises(SystemExit) as end:
        main([*args])
    assert isinstance(end.value.code, int)
    return end.value.code


def _content(stream: IO[str]) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()


@contextlib.contextmanager
def _process_state() -> Iterator[None]:
    """What `main` sets for its process, logging and the limit of a core file, is as before afterwards."""
    limit = resource.getrlimit(resource.RLIMIT_CORE)
    levels = [(logger, logger.level) for logger in map(logging.getLogger, _LOGGERS)]
    before, logging.root.handlers = logging.root.handlers, []
    try:
        yield
    finally:
        logging.root.handlers = before
        for logger, level in levels:
            logger.setLevel(level)
        resource.setrlimit(resource.RLIMIT_CORE, limit)


def refused(run: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """A command ended with this code, and said each of these words without a traceback."""
    assert run.returncode == code, run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    for word in words:
        assert word in run.stderr
