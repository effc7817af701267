"""A company under a real `clawbus up`, which a test changes while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path

from tests.company import Live, until


class Up:
    """A company under a real `clawbus up`, whose Python programs the test starts and kills."""

    def __init__(self, folder: Path, toml: str) -> None:
        self.live = Live(folder, toml, None, "")
        self.file = folder / "org.toml"
        self.log = folder / "up.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "clawbus", "up"], cwd=folder, stdout=log, stderr=log, start_new_session=True
            )

    async def ready(self) -> None:
        async def look() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            return "acme is up" in self.log.read_text()

        await until(look, "clawbus up", 300)

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "clawbus", *args], check=False, cwd=self.file.parent, capture_output=True, text=True, timeout=500
        )  # fmt: skip

    async def apply(self, toml: str, *args: str) -> str:
        self.file.write_text(toml)
        run = await asyncio.to_thread(self.run, "apply", *args)
        assert run.returncode == 0, run.stdout + run.stderr
        processes = self.live.processes
        self.live = Live(self.file.parent, toml, None, "")
        self.live.processes = processes
        return run.stdout

    def pid(self, service: str) -> int:
        return int(json.loads((self.live.home.root / "run" / f"{service}.pid").read_text())["pid"])

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
