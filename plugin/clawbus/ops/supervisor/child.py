"""One child process: it is started, restarted when it dies by itself, and ended with all that it has started."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clawbus.errors import Away, ClawbusError
from clawbus.ops.supervisor import pid_files

RESTART_DELAYS_S = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
"""The pauses before the first, second, … restart in a row; the last one for all that follow. A server or a node starts
in under a second, so even then it is back within 5 s of its death."""
_STEADY_S = 5.0
"""A process that was ready for this time has recovered: its next death counts as the first."""
_TRIES = 3
"""After so many deaths before the service was ready for the first time, it is given up."""

OnEvent = Callable[[str, str, str], None]


@dataclass(frozen=True, slots=True)
class Service:
    """A process to run. Its output is appended to `log`. `cwd`: its working directory.

    `ready`: returns when it can be used, or raises a ClawbusError. `stop_s`: the time that it has to end after SIGTERM.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    ready: Callable[[], Awaitable[None]] | None = None
    stop_s: float = 10.0
    cwd: Path | None = None


class Child:
    """The process of a service, over all its restarts. Supervisor lists the events."""

    def __init__(self, service: Service, folder: Path, on_event: OnEvent) -> None:
        self.service = service
        self._folder = folder
        self._on_event = on_event
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._was_ready = asyncio.Event()
        self._ready_at: float | None = None
        self._renewing = False

    @property
    def pid(self) -> int | None:
        """The id of the process that runs now; None between a death and the restart."""
        process = self._process
        return process.pid if process and process.returncode is None else None

    async def start(self) -> None:
        """Start it and wait until it is ready. Raises Away after three deaths, or what `ready` raises."""
        keeper = self._keeper = asyncio.create_task(self._keep(), name=f"keep-{self.service.name}")
        ready = asyncio.create_task(self._was_ready.wait())
        try:
            await asyncio.wait({keeper, ready}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if keeper.done():
            keeper.result()

    async def stop(self) -> None:
        """Send SIGTERM; when it has ended, or after `stop_s`, send SIGKILL to its group. Idempotent."""
        if self._keeper:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        process = self._process
        if process is None:
            return
        began = time.monotonic()
        await _terminate(process, self.service.stop_s)
        how = "killed" if process.returncode is None else "stopped"
        await self._bury(process)
        self._say(how, f"after {time.monotonic() - began:.1f} s")

    async def restart(self, within_s: float | None = None) -> None:
        """End the process, so that it is started again at once. Returns when it has ended.

        Does nothing while it is down. Sends SIGTERM; after `within_s`, or the service's `stop_s`, SIGKILL to its group.
        """
        process = self._process
        if process is None or process.returncode is not None:
            return
        self._renewing = True
        await _terminate(process, self.service.stop_s if within_s is None else within_s)
        pid_files.kill_group(process.pid)
        await process.wait()

    def kill(self) -> None:
        """Send SIGKILL to the whole group at once, for an end that cannot wait."""
        if self._process and self._process.returncode is None:
            pid_files.kill_group(self._process.pid)

    async def _keep(self) -> None:
        deaths = 0
        while True:
            ended = await self._run_once(restart=deaths > 0)
            steady = self._ready_at is not None and time.monotonic() - self._ready_at > _STEADY_S
            deaths = 1 if steady or self._renewing else deaths + 1
            self._say("stopped" if self._renewing else "died", ended)
            self._renewing = False
            if deaths >= _TRIES and not self._was_ready.is_set():
                raise self._hopeless(deaths, ended)
            delay = RESTART_DELAYS_S[min(deaths, len(RESTART_DELAYS_S)) - 1]
            self._say("restarting", f"in {delay:g} s")
            await asyncio.sleep(delay)

    async def _run_once(self, restart: bool) -> str:
        """Run it until it dies. Returns how it died, in words. Raises what `ready` raises, the first time only."""
        began, self._ready_at = time.monotonic(), None
        try:
            process = self._process = await self._spawn()
        except OSError as error:
            return f"cannot be started: {error}"
        try:
            pid_files.write(self._folder, self.service.name, process.pid)
        except OSError as error:  # such as a full disk: the next `up` would not know whose process it is
            await self._bury(process)
            return f"cannot be recorded: {error}"
        self._say("restarted" if restart else "started", f"pid {process.pid}")
        dead = asyncio.create_task(process.wait())
        waiting = asyncio.create_task(self._wait_ready(began))
        try:
            await asyncio.wait({dead, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                waiting.result()
            code = await dead
        finally:
            waiting.cancel()
            dead.cancel()
            await asyncio.gather(waiting, dead, return_exceptions=True)
        await self._bury(process)
        return f"by signal {-code}" if code < 0 else f"with exit code {code}"

    async def _spawn(self) -> asyncio.subprocess.Process:
        service = self.service
        service.log.parent.mkdir(parents=True, exist_ok=True)
        with service.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *service.argv,
                env=dict(service.env),
                cwd=service.cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # the terminal's Ctrl-C reaches the supervisor only, and the group is ours
            )

    async def _wait_ready(self, began: float) -> None:
        while self.service.ready:
            try:
                await self.service.ready()
                break
            except ClawbusError as error:
                if not self._was_ready.is_set():
                    raise
                # It was ready before its restart, so it stays, and `ready` is called again.
                self._say("not ready", error.message)
                await asyncio.sleep(RESTART_DELAYS_S[-1])
        self._ready_at = time.monotonic()
        self._say("ready", f"after {self._ready_at - began:.1f} s")
        self._was_ready.set()

    async def _bury(self, process: asyncio.subprocess.Process) -> None:
        """End what the process has left in its group, before another process takes its place."""
        pid_files.kill_group(process.pid)
        await process.wait()
        self._process = None
        (self._folder / f"{self.service.name}.pid").unlink(missing_ok=True)

    def _hopeless(self, deaths: int, ended: str) -> ClawbusError:
        try:
            last = self.service.log.read_text("utf-8", errors="replace").splitlines()[-5:]
        except OSError:
            last = []
        remedy = "\n".join([f"Its log is {self.service.log}" + (", which ends with:" if last else "."), *last])
        return Away(f"{self.service.name} was started {deaths} times and died each time, lastly {ended}", remedy)

    def _say(self, what: str, detail: str) -> None:
        with contextlib.suppress(Exception):  # an error of a listener must not end the process
            self._on_event(self.service.name, what, detail)


async def _terminate(process: asyncio.subprocess.Process, within_s: float) -> None:
    """Send SIGTERM, and wait for the end, at most `within_s`."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await process.wait()
