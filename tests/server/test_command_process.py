"""The command line and other programs: what its process prints and imports, a pipe that is closed, an old nats-server."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import clawbus, refused


@pytest.mark.parametrize(
    "args",
    [
        ["check"],
        ["check", "--json"],
        ["ask", "--", "agent.>", "hello"],
        ["ask", "nobody", "hello"],
        ["tasks"],
        ["tsks"],
        ["--help"],
    ],
    ids=" ".join,
)
def test_a_process_answers_as_the_call_in_the_tests_does(folder: Path, args: list[str]) -> None:
    """Exit code, standard output and standard error: a good call, and each kind of mistake."""
    process = subprocess.run(
        [sys.executable, "-m", "clawbus", *args], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )  # fmt: skip
    call = clawbus(*args, folder=folder)
    assert (process.returncode, process.stdout, process.stderr) == (call.returncode, call.stdout, call.stderr)


def test_an_old_nats_server_is_refused(folder: Path) -> None:
    """With its version, where it is, and what to do."""
    old = folder / "nats-server"
    old.write_text("#!/bin/sh\necho nats-server: v2.9.10\n")
    old.chmod(0o755)
    fake = folder / "openclaw.mjs"
    fake.write_text("")
    (folder / "package.json").write_text(json.dumps({"name": "openclaw", "version": "2026.9.6"}))
    env = {"CLAWBUS_OPENCLAW": str(fake), "CLAWBUS_NATS_SERVER": str(old)}
    refused(clawbus("up", env=env, folder=folder), 3, "2.9.10", str(old), "2.14.0")


def test_help_does_not_import_the_heavy_parts() -> None:
    """`clawbus --help` pays for click only."""
    code = "import sys, clawbus.cli; print(sorted({'nats', 'pydantic', 'websockets', 'rich'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.strip() == "[]"


def test_a_reader_that_has_gone_is_no_failure(tmp_path: Path) -> None:
    """`clawbus check | head -1`: no traceback, and no exit code that means something else."""
    assert clawbus("init", "eleven", folder=tmp_path).returncode == 0
    for command in (["check"], ["check", "--json"], ["--help"]):
        reader, writer = os.pipe()
        os.close(reader)
        argv = [sys.executable, "-m", "clawbus", *command]
        run = subprocess.run(argv, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, check=False, timeout=60)
        os.close(writer)
        assert (run.returncode, run.stderr) == (0, b"")


def test_a_text_from_standard_input_has_to_be_utf_8(folder: Path) -> None:
    argv = [sys.executable, "-m", "clawbus", "ask", "cto-athena", "-"]
    strict = dict(os.environ) | {"PYTHONIOENCODING": "utf-8:strict"}
    run = subprocess.run(argv, cwd=folder, input=b"se\xf1or", env=strict, capture_output=True, check=False, timeout=60)
    assert (run.returncode, b"TEXT = '-': standard input is not UTF-8" in run.stderr) == (2, True), run.stderr


def test_a_port_in_use_is_refused_with_the_line_to_change(folder: Path) -> None:
    """By name, before anything is started."""
    port = int((folder / "org.toml").read_text().split("bus.port = ")[1].split()[0])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        fake = folder / "openclaw.mjs"
        fake.write_text("")
        (folder / "package.json").write_text(json.dumps({"name": "openclaw", "version": "2026.9.6"}))
        refused(clawbus("up", env={"CLAWBUS_OPENCLAW": str(fake)}, folder=folder), 3, f"bus.port = {port}", "org.toml")
