"""After `kill -9` of `clawbus up` the next one ends what was left, and waits until that has let go of its ports."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clawbus.errors import Missing, Refused
from clawbus.ops.supervisor import pid_files as record
from clawbus.provision.ports import port_free, refuse_taken_port, wait_for_port
from tests.company import free_ports, until
from tests.server.test_change import HEAD, WEST
from tests.up import Up

LISTEN = "import socket,time\ns = socket.create_server(('127.0.0.1', {port}))\nprint('up', flush=True)\ntime.sleep(600)"
INNER = "import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', {inner!r}])\ntime.sleep(600)"


def started(code: str) -> subprocess.Popen[str]:
    """A process that leads a group, as the supervisor's do, once it (or its child) has said that it listens."""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def ended(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize("code", [LISTEN, INNER])
async def test_a_port_of_what_was_ended_is_waited_for(code: str) -> None:
    """Also where a child of it holds the port; as long as it does, and no longer."""
    port = free_ports(1)[0]
    listening = LISTEN.format(port=port)
    process = started(listening if code is LISTEN else INNER.format(inner=listening))
    waiting = asyncio.create_task(wait_for_port(port, [process.pid], within_s=60))
    done, _ = await asyncio.wait({waiting}, timeout=0.3)
    assert not done
    ended(process)
    await waiting
    assert port_free("127.0.0.1", port)


async def test_a_port_whose_holder_is_not_known_is_waited_for_after_leftovers_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process that is dying has no files to be seen any more, and a Mac shows none: but it ends."""
    monkeypatch.setattr("clawbus.provision.ports._pid_of", lambda _port: None)
    port = free_ports(1)[0]
    process = started(LISTEN.format(port=port))
    await asyncio.wait_for(wait_for_port(port, []), 5)
    waiting = asyncio.create_task(wait_for_port(port, [1], within_s=60))
    done, _ = await asyncio.wait({waiting}, timeout=0.3)
    assert not done
    ended(process)
    await waiting


async def test_a_foreign_program_is_named_at_once() -> None:
    """Whatever was ended before."""
    port = free_ports(1)[0]
    process = started(LISTEN.format(port=port))
    try:
        await asyncio.wait_for(wait_for_port(port, [os.getpid(), 1], within_s=600), 30)
        with pytest.raises(Missing, match=rf"{port}: the port is in use by python.* \(pid {process.pid}\)"):
            refuse_taken_port("bus.port", port)
    finally:
        ended(process)


def test_the_lock_of_one_that_is_dying_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its threads end one after the other, and the lock with the last; one that lives is refused."""
    held = record.take_lock(tmp_path)
    with pytest.raises(Refused, match=f"pid {os.getpid()}"):
        record.take_lock(tmp_path)

    def gone(_pid: int) -> None:
        held.close()

    monkeypatch.setattr(record, "began_at", gone)
    record.take_lock(tmp_path).close()


async def test_the_next_up_follows_a_killed_one_at_once(tmp_path: Path) -> None:
    """Three times, while the machine is busy; a foreign program on the port is refused with its name even then."""
    toml = HEAD.format(port=(port := free_ports(1)[0])) + WEST
    load = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    up = Up(tmp_path, toml)
    try:
        for _ in range(3):
            await up.ready()
            killed = up.process
            killed.kill()
            up.log.write_text("")
            up = Up(tmp_path, toml)
            killed.wait()
        await up.ready()
        assert "in use" not in up.log.read_text()
        up.process.kill()
        up.process.wait()
        os.kill(server := up.pid("nats-server"), signal.SIGKILL)
        other = await listening_instead(port)
        done = await asyncio.to_thread(up.run, "up")
        assert (done.returncode, "the port is in use by python" in done.stderr) == (3, True), (server, done.stderr)
        ended(other)
    finally:
        for one in load:
            one.kill()
            one.wait()
        up.end()
        await record.end_leftovers(tmp_path / ".clawbus" / "run")


async def listening_instead(port: int) -> subprocess.Popen[str]:
    """A program that has taken a port of a server that is dying."""

    async def look() -> bool:
        return port_free("127.0.0.1", port)

    await until(look, "the server's end")
    return started(LISTEN.format(port=port))
