"""A company whose disk is really full: a small file system of its own, filled to its last block."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clawbus.errors import BusAway
from clawbus.wire.channels import INBOX, SPEND
from clawbus.wire.events import Event
from clawbus.wire.subjects import new_message_id, new_task_id
from tests.company import Live, duo_toml, free_ports, until
from tests.server.test_full_disk import FIRM
from tests.up import Up

pytestmark = [pytest.mark.host, pytest.mark.timeout(300)]
Mount = Callable[[str], Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Make a file system of that size; what still runs there when the test is over has been ended by it."""
    made: list[Path] = []

    def make(size: str) -> Path:
        folder = tmp_path / f"disk-{len(made)}"
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "clawbus-test", str(folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"this test has to mount a file system, as root: {done.stderr}"
        made.append(folder)
        return folder

    yield make
    for folder in made:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def filled(folder: Path) -> Path:
    """Take the last block of a disk. Returns the file to remove."""
    ballast, size = folder / "ballast", 1 << 20
    with ballast.open("ab", buffering=0) as file:
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
    assert os.statvfs(folder).f_bfree == 0
    return ballast


@pytest.fixture
def ended() -> Iterator[list[Up]]:
    ups: list[Up] = []
    yield ups
    for up in ups:
        up.live.end()
        up.end()


async def started(folder: Path, ended: list[Up]) -> Up:
    up = Up(folder, FIRM.format(port=free_ports(1)[0]))
    ended.append(up)
    await up.ready()
    return up


async def force(up: Up, subject: str, data: bytes = b"x" * 100_000) -> None:
    """Publish as somebody on another machine does, who knows nothing of this disk."""
    async with up.live.owner() as bus:
        bus.store = None
        with pytest.raises(BusAway):
            await bus.publish(subject, data, msg_id=new_message_id("owner"), timeout_s=1.0)


async def works(up: Up) -> bool:
    done = await asyncio.to_thread(up.run, "ask", "builder", "again", "--timeout", "5")
    return (done.returncode, done.stdout.strip()) == (0, "again (attempt 1)")


def lines(up: Up) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in json.loads(up.run("doctor", "--json").stdout)}


async def test_a_full_disk_is_named_and_the_company_goes_on_by_itself(mount: Mount, ended: list[Up]) -> None:
    """Streams that others have run into the full disk are opened again, too, within seconds of its having room."""
    folder = mount("64m")
    up = await started(folder, ended)
    await up.live.start("program-ci")
    assert await works(up)
    ballast = filled(folder)
    for words in (("ask", "builder", "x"), ("send", "builder", "x"), ("send", "owner", "x")):
        done = up.run(*words)
        assert done.returncode == 5, done
        assert done.stderr.startswith(f"clawbus: the disk of {folder}/.clawbus is full; nothing was sent"), done.stderr
        assert "free space there" in done.stderr
    await force(up, "acme.dm.owner.owner")
    await force(up, f"acme.spend.{'a' * 26}.owner")
    seen = await asyncio.to_thread(lines, up)
    assert (seen["disk"]["ok"], "it is full" in seen["disk"]["detail"]) == (False, True)
    assert (seen["streams"]["ok"], "the disk of" in seen["streams"]["detail"]) == (False, True)
    assert seen["forbidden calls"]["ok"] is True
    alerts = up.run("alerts")
    assert (alerts.returncode, "room disk\n" in alerts.stdout) == (1, True), alerts
    assert "is full; nothing more is kept" in alerts.stdout

    async def told() -> bool:
        said = up.log.read_text()
        return f"the disk of {folder}/.clawbus is full" in said and f"could not write {INBOX}, {SPEND}" in said

    await until(told, "the terminal names the disk and both streams", 15)
    ballast.unlink()
    await until(lambda: works(up), "work goes on", 20)
    assert up.run("send", "owner", "x").returncode == 0
    assert f"keeps what is said again, in {INBOX}, {SPEND}, too" in up.log.read_text()
    assert all(one["ok"] is not False for one in lines(up).values()), lines(up)
    assert "has room again" in up.log.read_text()
    assert up.run("alerts").returncode == 0


@pytest.mark.parametrize("name", ["nats-server", "steward"])
async def test_what_dies_on_a_full_disk_is_back_when_there_is_room(mount: Mount, ended: list[Up], name: str) -> None:
    """Its pid file, its log, its own files: nothing of it can be written meanwhile."""
    folder = mount("64m")
    up = await started(folder, ended)
    await up.live.start("program-ci")
    ballast, pid = filled(folder), up.pid(name)
    os.kill(pid, signal.SIGKILL)

    async def tried() -> bool:
        return f"{name} died by signal 9" in up.log.read_text()

    await until(tried, "its death is noticed", 10)
    await asyncio.to_thread(up.run, "doctor")
    ballast.unlink()
    await until(lambda: works(up), "work goes on", 30)

    async def recorded() -> bool:
        with contextlib.suppress(OSError, ValueError):
            return up.pid(name) != pid
        return False

    await until(recorded, f"{name} runs again", 30)
    assert all(one["ok"] is not False for one in lines(up).values()), lines(up)


async def test_a_tools_answer_names_the_full_disk(mount: Mount) -> None:
    """And what became of the message; what is said once there is room arrives."""
    folder = mount("64m")
    company = Live(folder, duo_toml(free_ports(3)), None, "")
    try:
        await company.start("nats-server")
        await company.provision()
        await company.start("node-hq")
        said = {"to": "cto-athena", "message": "look"}
        assert (await company.tool("hq", "ceo-genesis", "nats_pub", **said))["ok"] is True
        ballast = filled(folder)
        for tool, params in (
            ("nats_pub", said),
            ("nats_spawn", {"agentId": "cto-athena", "task": "look"}),
            ("nats_request", {"agentId": "cto-athena", "task": "look", "timeoutSeconds": 5}),
        ):
            async with asyncio.timeout(5):
                answer = await company.tool("hq", "ceo-genesis", tool, **params)
            assert f"the disk of {folder}/.clawbus" in answer["text"], answer
            assert "nothing was sent" in answer["text"] or "goes out by itself" in answer["text"], answer
        ballast.unlink()

        async def sends() -> bool:
            answer = await company.tool("hq", "ceo-genesis", "nats_pub", **said)
            return bool(answer["ok"]) and " here; " not in answer["text"]

        await until(sends, "mail goes out again", 15)
    finally:
        company.end()


async def test_up_outlives_the_disk_that_its_own_lines_go_to(mount: Mount, ended: list[Up]) -> None:
    """Whoever lets it write into a file beside org.toml: what it would say on a full disk is dropped, and nothing ends."""
    folder = mount("64m")
    up = await started(folder, ended)
    await up.live.start("program-ci")
    with up.log.open("ab") as log:  # no half-used block of it is left to write to
        log.write(b"." * (4096 - up.log.stat().st_size % 4096))
    ballast = filled(folder)
    task_id = new_task_id()
    said = Event(
        id=new_message_id("owner"), kind="announced", task_id=task_id, sender="owner", detail={"how": "answered"}
    )
    for _ in range(3):  # heard as it is said, though the stream cannot keep it
        await force(up, f"acme.events.{task_id}.owner", said.encode())
    assert up.process.poll() is None, up.log.read_text()
    ballast.unlink()
    await until(lambda: works(up), "work goes on", 30)
    assert up.process.poll() is None


@pytest.mark.parametrize("size", ["48m", "9g"])
async def test_a_company_starts_on_a_small_disk_and_says_what_it_may_need(
    mount: Mount, ended: list[Up], size: str
) -> None:
    """A machine of 10 GB has less free than the streams may hold: that is said, and is no reason not to start."""
    up = await started(mount(size), ended)
    said = up.log.read_text()
    assert "up to 8.7 GiB under" in said
    assert ("the streams may take 8.7 GiB more" in said) == (size == "48m")
    assert ("[streams] in org.toml" in said) == (size == "48m")
    assert lines(up)["streams"]["ok"] is True


async def test_a_company_is_not_started_on_a_disk_that_is_full(mount: Mount, ended: list[Up]) -> None:
    """Nothing of it would work: the figure is said at once, and nothing is left running."""
    folder = mount("64m")
    up = await started(folder, ended)
    up.end()
    filled(folder)
    done = await asyncio.to_thread(up.run, "up")
    assert done.returncode == 3, done
    assert f"the disk of {folder}/.clawbus has 0 B free; clawbus needs 2 MiB to start" in done.stderr


async def test_a_disk_that_is_too_small_to_start_is_refused_with_the_figure(mount: Mount) -> None:
    """Before anything is started; and a company that has been there once says that its disk is full."""
    folder = mount("16m")
    up = Up(folder, FIRM.format(port=free_ports(1)[0]))
    assert await asyncio.to_thread(up.process.wait, 60) == 3
    said = up.log.read_text()
    assert f"the disk of {folder}/.clawbus has 1" in said
    assert "MiB free; clawbus needs 32 MiB to start" in said
    assert "Free space there" in said
