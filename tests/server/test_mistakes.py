"""Mistakes of a user: each is refused with the field, the value and the remedy, without a traceback, before any network call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clawbus.client.company import Company
from clawbus.ops.apply.apply import write_server_config
from tests.company import duo_toml, free_ports

HOSTILE = ["agent.>", "*", ">", "a b", "a\r\nb", "..", "\u0430gent", "x" * 300, "", "-a", "A", "cto-athena.ceo"]


def clawbus(
    folder: Path, *args: str, env: dict[str, str] | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "clawbus", *args], check=False, cwd=folder, capture_output=True, text=True, input=stdin, timeout=60,
        env=dict(os.environ) | (env or {}),
    )  # fmt: skip


def refused(run: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert run.returncode == code, run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    for word in words:
        assert word in run.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A company whose server is down: whatever reaches the network fails with exit code 5, not with 2 or 4."""
    (tmp_path / "org.toml").write_text(duo_toml(free_ports(3)))
    write_server_config(Company.open(tmp_path / "org.toml"))
    return tmp_path


@pytest.mark.parametrize("agent", HOSTILE)
def test_a_hostile_agent_id_is_refused(folder: Path, agent: str) -> None:
    """Wildcards, dots, spaces, control characters, look-alikes, too long, empty."""
    refused(clawbus(folder, "ask", "--", agent, "hello"), 2, "AGENT", "cto-athena")


def test_an_unknown_agent_is_refused_with_those_that_exist(folder: Path) -> None:
    refused(clawbus(folder, "ask", "nobody", "hello"), 4, "nobody", "ceo-genesis, cto-athena")


@pytest.mark.parametrize(
    ("text", "problem"),
    [("", "empty"), (" \n", "empty"), ("/reset", "command"), (" /new", "command"), ("x" * 65_537, "65537 bytes")],
)
def test_a_text_that_cannot_be_sent_is_refused(folder: Path, text: str, problem: str) -> None:
    """Empty, a command, over 64 KiB."""
    refused(clawbus(folder, "ask", "cto-athena", text), 2, "task =", problem)
    refused(clawbus(folder, "send", "cto-athena", "-", stdin=text), 2, "message =", problem)


def test_a_text_of_exactly_64_kib_passes_the_check(folder: Path) -> None:
    """It fails later, at the bus that is not there."""
    refused(clawbus(folder, "ask", "cto-athena", "-", stdin="x" * 65_536), 5, "no nats-server answers", "clawbus up")


def test_a_bus_that_is_away_is_said_with_the_remedy(folder: Path) -> None:
    refused(clawbus(folder, "tasks"), 5, "no nats-server answers at nats://127.0.0.1:", "clawbus up")


@pytest.mark.parametrize("task_id", ["*", "abc", "a.b.c.d", "x" * 27, "acme.>"])
def test_a_bad_task_id_is_refused(folder: Path, task_id: str) -> None:
    refused(clawbus(folder, "task", "show", task_id), 2, "ID =", "clawbus tasks")


def test_a_missing_org_file_names_the_command_that_writes_one(tmp_path: Path) -> None:
    refused(clawbus(tmp_path, "tasks"), 4, "org.toml", "clawbus init duo")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('company = "acme"', 'company = "acme"\ncolour = "blue"'), ["colour = 'blue'", "unknown field"]),
        (('company = "acme"', 'company = "ac.me"'), ["company = 'ac.me'", "not an id"]),
        (('id = "cto-athena"', 'id = "ceo-genesis"'), ["ceo-genesis", "two of one id"]),
        (('gateway = "lab"', 'gateway = "nowhere"'), ["agents[cto-athena].gateway", "nowhere", "hq, lab"]),
        (('reports_to = "ceo-genesis"', 'reports_to = "god"'), ["reports_to", "god"]),
        (('role = "role-cto"', 'role = "boss"'), ["role", "boss"]),
        (('name = "Athena"', 'nick = "Athena"'), ["agents[cto-athena].nick", "unknown field"]),
        (('[[humans]]', '[[humans'), ["not TOML"]),
        (('id = "owner"', 'id = "all"'), ["all", "reserved"]),
    ],
)  # fmt: skip
def test_a_mistake_in_org_toml_is_named(folder: Path, change: tuple[str, str], words: list[str]) -> None:
    """The field, its value, what is wrong."""
    text = (folder / "org.toml").read_text()
    assert change[0] in text
    (folder / "org.toml").write_text(text.replace(change[0], change[1], 1))
    refused(clawbus(folder, "up"), 2, "org.toml", *words)


def test_all_mistakes_are_said_at_once(folder: Path) -> None:
    text = (folder / "org.toml").read_text().replace('gateway = "lab"', 'gateway = "x"').replace('"role-cto"', '"cto"')
    (folder / "org.toml").write_text(text.replace("bus.port", "bus.prot"))
    refused(clawbus(folder, "up"), 2, "3 mistakes", "bus.prot", "role", "agents[cto-athena].gateway = 'x'")


def test_reports_to_in_a_circle_is_named(folder: Path) -> None:
    text = (
        (folder / "org.toml").read_text().replace('role = "role-ceo"', 'role = "role-ceo"\nreports_to = "cto-athena"')
    )
    (folder / "org.toml").write_text(text)
    refused(clawbus(folder, "up"), 2, "circle", "ceo-genesis -> cto-athena -> ceo-genesis")


def test_init_never_overwrites(tmp_path: Path) -> None:
    assert clawbus(tmp_path, "init", "duo").returncode == 0
    (tmp_path / "org.toml").write_text("mine")
    refused(clawbus(tmp_path, "init", "duo"), 6, "org.toml already")
    assert (tmp_path / "org.toml").read_text() == "mine"


def test_what_init_writes_is_a_good_company(tmp_path: Path) -> None:
    """And the next command takes it: only the bus is missing."""
    clawbus(tmp_path, "init", "duo")
    refused(clawbus(tmp_path, "tasks"), 5, "has not been started here", "clawbus up")


def test_a_port_in_use_is_refused_with_the_line_to_change(folder: Path) -> None:
    """By name, before anything is started."""
    import socket

    port = int((folder / "org.toml").read_text().split("bus.port = ")[1].split()[0])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        fake = folder / "openclaw.mjs"
        fake.write_text("")
        (folder / "package.json").write_text(json.dumps({"name": "openclaw", "version": "2026.9.6"}))
        refused(clawbus(folder, "up", env={"CLAWBUS_OPENCLAW": str(fake)}), 3, f"bus.port = {port}", "org.toml")


def test_an_old_nats_server_is_refused(folder: Path) -> None:
    """With its version, where it is, and what to do."""
    old = folder / "nats-server"
    old.write_text("#!/bin/sh\necho nats-server: v2.9.10\n")
    old.chmod(0o755)
    fake = folder / "openclaw.mjs"
    fake.write_text("")
    (folder / "package.json").write_text(json.dumps({"name": "openclaw", "version": "2026.9.6"}))
    env = {"CLAWBUS_OPENCLAW": str(fake), "CLAWBUS_NATS_SERVER": str(old)}
    refused(clawbus(folder, "up", env=env), 3, "2.9.10", str(old), "2.14.0")


def test_a_demo_of_no_folder_is_refused(tmp_path: Path) -> None:
    refused(clawbus(tmp_path, "demo", "--app", "/nowhere/at/all"), 2, "--app", "/nowhere/at/all")


def test_help_does_not_import_the_heavy_parts() -> None:
    """`clawbus --help` pays for click only."""
    code = "import sys, clawbus.cli; print(sorted({'nats', 'pydantic', 'websockets', 'rich'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.strip() == "[]"


def test_an_age_before_all_time(folder: Path) -> None:
    """`replay --since` with an age that no calendar holds."""
    refused(clawbus(folder, "replay", "--since", "99999999d"), 2, "--since", "99999999d")


def test_a_reader_that_has_gone_is_no_failure(tmp_path: Path) -> None:
    """`clawbus check | head -1`: no traceback, and no exit code that means something else."""
    assert clawbus(tmp_path, "init", "eleven").returncode == 0
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
