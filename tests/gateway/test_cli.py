"""The command line against a company that `clawbus up` has started: as a person would use it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clawbus.gateway.setup.installation import OpenClaw
from clawbus.ops.supervisor import pid_files as record
from tests.company import duo_toml, free_ports

pytestmark = [pytest.mark.gateway, pytest.mark.timeout(300)]


class Terminal:
    """`clawbus up` in a folder, and other commands beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "org.toml").write_text(duo_toml(free_ports(3)))
        self.lines: list[str] = []
        self._more = threading.Condition()
        self.up = subprocess.Popen(
            [sys.executable, "-u", "-m", "clawbus", "up"],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.up.stdout is not None
        with self.up.stdout as stream:
            for line in stream:
                with self._more:
                    self.lines.append(line.rstrip())
                    self._more.notify_all()
        with self._more:
            self.lines.append("(ended)")
            self._more.notify_all()

    def wait_line(self, pattern: str, after: int = 0, timeout_s: float = 120.0) -> int:
        """Wait for a line of `up` that fits; returns how many lines there were then."""
        with self._more:
            found = self._more.wait_for(lambda: self._find(pattern, after), timeout_s)
        assert found, f"no line with {pattern!r} in:\n" + "\n".join(self.lines[after:])
        return found

    def _find(self, pattern: str, after: int) -> int:
        return next((i + 1 for i, line in enumerate(self.lines) if i >= after and re.search(pattern, line)), 0)

    def run(self, *args: str, code: int = 0) -> str:
        run = subprocess.run(
            [sys.executable, "-m", "clawbus", *args],
            check=False,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert run.returncode == code, (args, run.returncode, run.stdout, run.stderr)
        assert "Traceback" not in run.stderr
        return run.stdout

    def data(self, *args: str, code: int = 0) -> Any:
        return json.loads(self.run(*args, "--json", code=code))

    def pid(self, name: str) -> int:
        return int(json.loads((self.folder / ".clawbus" / "run" / f"{name}.pid").read_text())["pid"])


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory, claw: OpenClaw) -> Iterator[Terminal]:
    term = Terminal(tmp_path_factory.mktemp("acme"))
    try:
        term.wait_line(r"acme is up on nats://|\(ended\)")
        assert any("acme is up" in line for line in term.lines), "\n".join(term.lines)
        yield term
    finally:
        term.up.send_signal(signal.SIGINT)
        try:
            term.up.wait(60)
        except subprocess.TimeoutExpired:
            term.up.kill()
            raise
        term.reader.join(10)


def test_up_says_which_model_answers(terminal: Terminal) -> None:
    """It is printed after the line that says the company is up: waited for, like any other."""
    terminal.wait_line("^Model: scripted")


def test_ask_prints_the_answer_and_the_task_can_be_found_again(terminal: Terminal) -> None:
    """From the terminal to a turn and back, then by the first letters of its id."""
    assert terminal.run("ask", "cto-athena", "@reply forty-two", "--label", "the question") == "forty-two\n"
    (view,) = [view for view in terminal.data("tasks") if view["label"] == "the question"]
    assert (view["state"], view["requester"], view["worker"], view["delivery"]) == (
        "done",
        "owner",
        "cto-athena",
        "answered",
    )
    assert terminal.run("task", "result", view["task_id"][:6]) == "forty-two\n"
    assert set(terminal.data("task", "show", view["task_id"])["times"]) >= {"accepted", "delivered", "started", "ended"}
    assert "the question" in terminal.run("tasks")


def test_an_answer_that_is_not_done_has_exit_code_1(terminal: Terminal) -> None:
    end = terminal.data("ask", "cto-athena", "@exec sleep 20", "--run-timeout", "2", code=1)
    assert end["state"] == "timed_out"


def test_a_wait_that_is_too_short_says_how_to_get_the_answer(terminal: Terminal) -> None:
    """Exit code 5; the task goes on, and its result can be had."""
    terminal.run("ask", "cto-athena", "@sleep 2\n@reply later", "--timeout", "0.5", "--label", "slow", code=5)
    task_id = next(view["task_id"] for view in terminal.data("tasks") if view["label"] == "slow")
    deadline = time.monotonic() + 30
    while terminal.data("task", "show", task_id)["state"] != "done" and time.monotonic() < deadline:
        pass
    assert terminal.run("task", "result", task_id) == "later\n"


def test_cancel_of_a_running_and_of_a_finished_task(terminal: Terminal) -> None:
    """The person's cancel is the one end; a second one is told so."""
    task_id = terminal.run("ask", "cto-athena", "@hang", "--no-wait").strip()
    terminal.wait_line(rf"{task_id[:8]}\s+running")
    assert terminal.data("task", "cancel", task_id)["cancelled"] is True
    again = terminal.data("task", "cancel", task_id, code=1)
    assert (again["cancelled"], again["state"], again["ended_by"]) == (False, "cancelled", "owner")
    assert terminal.data("task", "show", task_id)["state"] == "cancelled"


def test_a_message_waits_in_the_inbox(terminal: Terminal) -> None:
    terminal.run("send", "cto-athena", "remember the milk", "--subject", "milk")
    (mail,) = terminal.data("inbox", "cto-athena")
    assert (mail["from"], mail["subject"], mail["body"]) == ("owner", "milk", "remember the milk")
    terminal.run("inbox", "cto-athena", "--ack", code=6)


def test_doctor_finds_everything_well(terminal: Terminal) -> None:
    checks = terminal.data("doctor")
    assert [check["name"] for check in checks if check["ok"] is not True] == []
    assert len(checks) >= 8


def test_a_second_up_is_refused(terminal: Terminal) -> None:
    assert terminal.run("up", code=6) == ""


@pytest.mark.parametrize("name", ["nats-server", "node-lab", "node-hq"])
def test_what_is_killed_is_back_within_5_s_and_the_company_works(terminal: Terminal, name: str) -> None:
    """kill -9; the supervisor restarts it; the seconds are measured from the kill to `ready`."""
    after = len(terminal.lines)
    pid = terminal.pid(name)
    os.killpg(pid, signal.SIGKILL)
    killed = time.monotonic()
    terminal.wait_line(rf"{name} back", after, 20)
    took = time.monotonic() - killed
    print(f"{name} was back {took:.2f} s after kill -9")
    assert took < 5
    assert terminal.run("ask", "cto-athena", f"@reply after {name}") == f"after {name}\n"


def test_ctrl_c_ends_all_that_was_started(terminal: Terminal) -> None:
    """The last test of the module: nothing of the company runs any more."""
    running = [one for one in record.read_all(terminal.folder / ".clawbus" / "run") if one.alive]
    assert {one.name for one in running} >= {"nats-server", "node-hq", "node-lab", "gateway-hq", "gateway-lab"}
    terminal.up.send_signal(signal.SIGINT)
    assert terminal.up.wait(60) == 0
    assert [one.name for one in running if one.alive] == []
