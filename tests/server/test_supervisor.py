"""The supervisor with real processes: nothing is mocked, and each test waits for what it wants to see."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from clawbus.errors import Away, GatewayAway, NotFound, Refused
from clawbus.ops.supervisor import Service, Supervisor, child
from clawbus.ops.supervisor import pid_files as record
from clawbus.settings import Home

SLEEP = "import time\nprint('up', flush=True)\ntime.sleep(600)"
DEAF = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(600)"
PARENT = (
    "import subprocess, sys, time\n"
    "inner = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "print('up', inner.pid, flush=True)\ntime.sleep(600)"
)


class Events:
    """What the supervisor reported, to wait for."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self._queue: asyncio.Queue[tuple[str, str, str]] = asyncio.Queue()

    def __call__(self, name: str, what: str, detail: str) -> None:
        self.seen.append((name, what))
        self._queue.put_nowait((name, what, detail))

    async def wait(self, name: str, what: str) -> str:
        """The detail of the next such event."""
        async with asyncio.timeout(15):
            while True:
                here, happened, detail = await self._queue.get()
                if (here, happened) == (name, what):
                    return detail

    def of(self, what: str) -> list[str]:
        return [name for name, happened in self.seen if happened == what]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / ".clawbus")
    yield home
    for entry in record.read_all(home.dir("run")):
        record.kill_group(entry.pid)


def service(home: Home, name: str, code: str, stop_s: float = 10.0) -> Service:
    """A Python process that is ready when it has printed "up" once more than before."""
    log = home.log(name)
    starts = 0

    async def ready() -> None:
        nonlocal starts
        starts += 1
        while not log.exists() or log.read_text().count("up") < starts:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)

    return Service(name, [sys.executable, "-c", code], {}, log, ready, stop_s)


def runs(pid: int) -> bool:
    return record.began_at(pid) is not None


async def gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while runs(pid):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)


async def test_what_is_killed_comes_back(home: Home) -> None:
    """A process that dies by `kill -9` is started again at once, ready again, and each step is reported."""
    events = Events()
    async with Supervisor(home, events) as supervisor:
        await supervisor.add(service(home, "node", SLEEP))
        first = supervisor.pid("node")
        assert first is not None
        os.kill(first, signal.SIGKILL)
        assert await events.wait("node", "died") == "by signal 9"
        assert await events.wait("node", "restarting") == "in 0 s"
        await events.wait("node", "ready")
        second = supervisor.pid("node")
        assert second not in (None, first)
    assert [what for _, what in events.seen] == [
        "started", "ready", "died", "restarting", "restarted", "ready", "stopped",
    ]  # fmt: skip
    assert not runs(second or 0)


@pytest.mark.parametrize(("code", "signum"), [(SLEEP, 15), (DEAF, 9)])
async def test_what_is_restarted_on_request_is_asked_to_end_before_it_is_killed(
    home: Home, code: str, signum: int
) -> None:
    """It has a while to end by itself; a new process takes its place, and the others never know."""
    events = Events()
    async with Supervisor(home, events) as supervisor:
        await supervisor.add(service(home, "node", SLEEP), service(home, "gateway", code))
        node, gateway = supervisor.pid("node"), supervisor.pid("gateway")
        await supervisor.restart("gateway", 5.0 if signum == 15 else 0.1)
        assert not runs(gateway or 0)
        assert await events.wait("gateway", "stopped") == f"by signal {signum}"
        await events.wait("gateway", "ready")
        assert supervisor.pid("gateway") not in (None, gateway)
        assert supervisor.pid("node") == node
        with pytest.raises(NotFound):
            await supervisor.restart("nobody", 1.0)


async def test_the_delay_grows_and_stays_under_five_seconds(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deaths in a row are answered more and more slowly, for ever, and never later than 5 s after the death."""
    assert list(child.RESTART_DELAYS_S) == sorted(child.RESTART_DELAYS_S)
    assert child.RESTART_DELAYS_S[0] == 0
    assert child.RESTART_DELAYS_S[-1] < 5
    monkeypatch.setattr(child, "RESTART_DELAYS_S", (0.0, 0.01, 0.02))
    events = Events()
    async with Supervisor(home, events) as supervisor:
        await supervisor.add(service(home, "node", SLEEP))
        for delay in ("0", "0.01", "0.02", "0.02", "0.02"):
            pid = supervisor.pid("node")
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            assert await events.wait("node", "restarting") == f"in {delay} s"
            await events.wait("node", "ready")


async def test_the_last_started_ends_first(home: Home) -> None:
    """Leaving the context ends everything, in reverse order, also when it is left by an error."""
    events = Events()
    pids: list[int] = []

    async def up() -> None:
        async with Supervisor(home, events) as supervisor:
            for name in ("server", "node", "gateway"):
                await supervisor.add(service(home, name, SLEEP))
                pids.append(supervisor.pid(name) or 0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await up()
    assert events.of("stopped") == ["gateway", "node", "server"]
    assert not any(runs(pid) for pid in pids)
    assert list((home.root / "run").glob("*.pid")) == []


async def test_services_of_one_call_start_side_by_side(home: Home) -> None:
    """Two gateways are started together: the first need not be ready for the second to start."""
    events = Events()
    async with Supervisor(home, events) as supervisor:
        await supervisor.add(service(home, "a", SLEEP), service(home, "b", SLEEP))
    assert [what for _, what in events.seen[:2]] == ["started", "started"]
    assert sorted(events.of("ready")) == ["a", "b"]


async def test_what_ignores_sigterm_is_killed(home: Home) -> None:
    """A process that does not end within its bound is killed: a stop never takes longer."""
    events = Events()
    async with Supervisor(home, events) as supervisor:
        await supervisor.add(service(home, "gateway", DEAF, stop_s=0.2))
        pid = supervisor.pid("gateway")
    assert events.of("killed") == ["gateway"]
    assert not runs(pid or 0)


async def test_children_of_a_child_end_with_it(home: Home) -> None:
    """The whole process group ends: on a stop, and before a killed parent is started again."""
    events = Events()

    def inner() -> int:
        return int(home.log("gateway").read_text().split()[-1])

    async with Supervisor(home, events) as supervisor:
        await supervisor.add(service(home, "gateway", PARENT))
        orphan, pid = inner(), supervisor.pid("gateway")
        os.kill(pid or 0, signal.SIGKILL)
        await events.wait("gateway", "restarted")
        await gone(orphan)
        await events.wait("gateway", "ready")
        second = inner()
        assert second != orphan
    await gone(second)


async def test_a_service_that_never_starts_is_an_error_with_its_log(home: Home) -> None:
    """Three deaths before it was ready end `add`, with the log's last lines; what was added before still runs."""
    events = Events()
    async with Supervisor(home, events) as supervisor:
        await supervisor.add(service(home, "server", SLEEP))
        with pytest.raises(Away, match="died each time, lastly with exit code 3") as caught:
            await supervisor.add(service(home, "node", "import sys; print('no such key'); sys.exit(3)"))
        assert "no such key" in caught.value.remedy
        assert str(home.log("node")) in caught.value.remedy
        assert supervisor.pid("server")
        with pytest.raises(NotFound):
            supervisor.pid("node")
    assert events.of("died") == ["node"] * 3


async def test_a_program_that_is_not_there_is_an_error(home: Home) -> None:
    """The reason reaches the caller, not a traceback of the operating system."""
    async with Supervisor(home) as supervisor:
        with pytest.raises(Away, match=r"cannot be started: .*no-such-program"):
            await supervisor.add(Service("x", [str(home.root / "no-such-program")], {}, home.log("x")))


async def test_not_ready_in_time_leaves_nothing(home: Home) -> None:
    """When `ready` gives up at the first start, its error is raised and the processes of that call are ended."""

    async def never() -> None:
        raise GatewayAway("not ready within 1 s")

    async with Supervisor(home) as supervisor:
        with pytest.raises(GatewayAway, match="not ready within 1 s"):
            await supervisor.add(
                service(home, "b", SLEEP), Service("a", [sys.executable, "-c", SLEEP], {}, home.log("a"), never)
            )
        assert list((home.root / "run").glob("*.pid")) == []


async def test_one_service_can_be_stopped_and_added_again(home: Home) -> None:
    """A gateway is taken off and put back; stopping is idempotent at the end."""
    async with Supervisor(home) as supervisor:
        await supervisor.add(service(home, "gateway", SLEEP))
        first = supervisor.pid("gateway")
        await supervisor.stop("gateway")
        assert not runs(first or 0)
        await supervisor.add(service(home, "gateway", SLEEP))
        await supervisor.stop_all()
        await supervisor.stop_all()


async def test_ctrl_c_ends_everything(home: Home) -> None:
    """A cancelled task, which is how Ctrl-C arrives, leaves nothing running; a second one kills at once."""
    pids: list[int] = []
    started = asyncio.Event()

    async def up() -> None:
        async with Supervisor(home) as supervisor:
            await supervisor.add(service(home, "server", SLEEP))
            await supervisor.add(service(home, "gateway", DEAF, stop_s=600))
            pids.extend(pid for name in ("server", "gateway") if (pid := supervisor.pid(name)))
            started.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(up())
    await started.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for pid in pids:
        await gone(pid)


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from clawbus.settings import Home
from clawbus.ops.supervisor import Service, Supervisor

async def main():
    home = Home(Path(sys.argv[1]))
    async with Supervisor(home) as supervisor:
        sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
        await supervisor.add(Service("node", sleep, {}, home.log("node")))
        print(supervisor.pid("node"), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_the_next_one_ends_what_a_killed_one_left(home: Home) -> None:
    """After `kill -9` of a supervisor its processes go on; the next one ends them before it starts its own."""
    argv = [sys.executable, "-c", KILLED, str(home.root)]
    run = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE)
    said, _ = await run.communicate()
    assert run.returncode == -signal.SIGKILL
    left = int(said)
    assert runs(left)
    events = Events()
    async with Supervisor(home, events):
        assert events.of("leftover") == ["node"]
        assert not runs(left)


async def test_a_stale_pid_file_kills_nobody(home: Home) -> None:
    """A pid that now belongs to another process, or a broken file, is removed and nothing is signalled."""
    stranger = await asyncio.create_subprocess_exec(sys.executable, "-c", SLEEP, start_new_session=True)
    try:
        folder = home.dir("run")
        (folder / "node.pid").write_text(json.dumps({"pid": stranger.pid, "began": "another boot/1"}))
        (folder / "ended.pid").write_text(json.dumps({"pid": 2**22 - 1, "began": "another boot/1"}))
        events = Events()
        async with Supervisor(home, events):
            assert events.seen == []
            assert list(folder.glob("*.pid")) == []
        assert runs(stranger.pid)
    finally:
        stranger.kill()
        await stranger.wait()


async def test_two_supervisors_of_one_company_refuse(home: Home) -> None:
    """The second `clawbus up` is refused, with the first one's pid, and disturbs nothing; afterwards it may."""
    async with Supervisor(home) as supervisor:
        await supervisor.add(service(home, "node", SLEEP))
        with pytest.raises(Refused, match=f"pid {os.getpid()}") as caught:
            async with Supervisor(home):
                pass
        assert f"kill {os.getpid()}" in caught.value.remedy
        assert runs(supervisor.pid("node") or 0)
    async with Supervisor(home):
        pass


async def test_output_goes_to_the_log_and_is_kept(home: Home) -> None:
    """A restart appends: what the process said before it died is still there."""
    events = Events()
    async with Supervisor(home, events) as supervisor:
        await supervisor.add(service(home, "node", SLEEP))
        with suppress(ProcessLookupError):
            os.kill(supervisor.pid("node") or 0, signal.SIGKILL)
        await events.wait("node", "restarted")
        await events.wait("node", "ready")
    assert home.log("node").read_text() == "up\nup\n"
