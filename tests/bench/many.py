"""Many tasks through the bus, with three crashes on the way: is each done once, and how much memory does that take?

python -m tests.bench.many [--tasks 5000]      writes reports/many.json

One program gives the tasks (tests/bench/giving.py), five do them: three replicas of a pool and two agents of their own.
On the way nats-server, a replica and the giving program are killed with `kill -9`. Everything else is as a company has
it: the default quota, fsync before each acknowledgement, leases, ledgers. The ends are counted on the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clawbus.bus import Bus
from clawbus.wire.channels import ENDS, INBOX, TASKS
from clawbus.wire.envelope import decode
from tests.company import ROOT, Live, free_ports, live, until

REPLICAS, SINGLES = ("rep-1", "rep-2", "rep-3"), ("solo-1", "solo-2")
SERVER, GIVER = "nats-server", "giver"
_ALL_S = 1800.0


def many_toml(port: int, lease_s: int) -> str:
    """Five programs; a pool of three of them."""
    parts = [f'company = "acme"\nbus.port = {port}\npolicies.lease_s = {lease_s}']
    for name in (*REPLICAS, *SINGLES):
        parts.append(f'[[gateways]]\nid = "{name}"\nkind = "program"\nslots = 16')
        parts.append(f'[[agents]]\nid = "{name}"\ngateway = "{name}"')
    parts.append(f'[[pools]]\nid = "pool"\nmembers = {json.dumps(REPLICAS)}')
    return "\n".join(parts)


@dataclass
class Run:
    """One run of the bench."""

    company: Live
    tasks: int
    out: Path
    peaks_mib: list[float] = field(default_factory=list)
    crashes: list[dict[str, Any]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def give(self) -> None:
        """Start the giving program; after a kill it begins again with the same keys."""
        argv = [sys.executable, "-m", "tests.bench.giving", str(self.company.org_file), str(self.tasks), str(self.out)]
        with self.company.home.log(GIVER).open("ab") as log:
            self.company.processes[GIVER] = subprocess.Popen(
                argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def received(self) -> dict[int, dict[str, Any]]:
        """The results that the giving program has written down, by the number of the task."""
        lines = self.out.read_text().splitlines() if self.out.exists() else []
        return {one["number"]: one for one in map(json.loads, lines)}

    async def until_received(self, count: int) -> None:
        async def look() -> bool:
            assert self.company.processes[GIVER].poll() in (None, 0), "the giving program has failed: see its log"
            return self.out.exists() and self.out.read_text().count("\n") >= count

        await until(look, f"{count} results", _ALL_S)

    async def crash(self, name: str, down_s: float = 0.0) -> None:
        """Kill a process, and start it again."""
        self.peak()
        before, at = len(self.received()), time.monotonic()
        self.company.kill(name)
        if down_s:
            await asyncio.sleep(down_s)
        if name == GIVER:
            self.give()
        else:
            await self.company.start(name)
        self.crashes.append({
            "killed": name,
            "results_before": before,
            "at_s": round(at - self.began, 1),
            "back_after_s": round(time.monotonic() - at, 2),
        })  # fmt: skip

    def peak(self) -> None:
        """Note the most memory that this server process has held so far."""
        status = Path(f"/proc/{self.company.processes[SERVER].pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        self.peaks_mib.append(round(int(found[1]) / 1024, 1) if found else -1.0)


async def measure(tasks: int, lease_s: int = 10, down_s: float = 0.0) -> dict[str, Any]:
    """Run it, and say what came of it. `down_s`: how long the killed replica stays away."""
    with tempfile.TemporaryDirectory() as folder:
        async with live(Path(folder), None, toml=many_toml(free_ports(1)[0], lease_s)) as company:
            await company.start(*(f"program-{name}" for name in (*REPLICAS, *SINGLES)))
            run = Run(company, tasks, Path(folder) / "results.jsonl")
            run.give()
            async with asyncio.TaskGroup() as group:
                for share, name in ((0.2, SERVER), (0.45, f"program-{REPLICAS[0]}"), (0.7, GIVER)):
                    await run.until_received(int(share * tasks))
                    if name.startswith("program"):  # the others go on while it is away
                        group.create_task(run.crash(name, down_s))
                    else:
                        await run.crash(name)
                await _ended(run)
            run.peak()
            seconds = time.monotonic() - run.began
            return await _report(run, seconds, lease_s)


async def _ended(run: Run) -> None:
    """Wait until the giving program has all results, and the workers have acknowledged all tasks."""

    async def given() -> bool:
        return run.company.processes[GIVER].poll() is not None

    async def empty() -> bool:
        async with run.company.owner() as bus:
            return not (await _state(bus, TASKS))["messages"]

    await until(given, "the end of the giving program", _ALL_S)
    await until(empty, "the last acks", 60)


async def _report(run: Run, seconds: float, lease_s: int) -> dict[str, Any]:
    company, received = run.company, run.received()
    async with company.owner() as bus:
        ends = Counter(
            decode(one.data, one.subject.split(".")[-1]).task_id
            for one in await bus.stored(ENDS, company.company.subjects.everything("end"))
        )
        events = await until(lambda: _all_said(company, bus, run.tasks), "all events", 60)
        left = {name: (await _state(bus, name))["messages"] for name in (TASKS, INBOX)}
    starts = Counter(one.task_id for one in events if one.kind in ("started", "retrying"))
    given = {one["task_id"] for one in received.values()}
    config = (company.home.root / "nats" / "nats.conf").read_text()
    return {
        "tasks": run.tasks,
        "body_bytes": 1024,
        "each_takes_s": 0.25,
        "results_received": len(received),
        "done": sum(one["status"] == "done" for one in received.values()),
        "tasks_with_one_end": sum(ends[task_id] == 1 for task_id in given),
        "ends_on_the_server": sum(ends.values()),
        "lost": run.tasks - len(given & set(ends)),
        "finished_twice": sum(count > 1 for count in ends.values()),
        "started_again_after_a_crash": sum(count > 1 for count in starts.values()),
        "redeliveries": sum(one.kind == "delivered" and one.number("delivered") > 1 for one in events),
        "left_in_streams": left,
        "by": dict(sorted(Counter(one["by"] for one in received.values()).items())),
        "crashes": sorted(run.crashes, key=lambda one: one["at_s"]),
        "seconds": round(seconds, 1),
        "tasks_per_s": round(run.tasks / seconds, 1),
        "server_peak_rss_mib": {"before_each_kill_and_at_the_end": run.peaks_mib, "most": max(run.peaks_mib)},
        "sync_interval": (re.search(r"sync_interval: (\w+)", config) or ["", "default"])[1],
        "lease_s": lease_s,
        "quota": company.org.policies.quota,
        "python": platform.python_version(),
    }


async def _all_said(company: Live, bus: Bus, count: int) -> list[Any]:
    events = await company.company.history(bus).events()
    return events if len({one.task_id for one in events if one.kind == "ended"}) >= count else []


async def _state(bus: Bus, stream: str) -> dict[str, Any]:
    state: dict[str, Any] = (await bus.api(f"STREAM.INFO.{stream}"))["state"]
    return state


def main() -> None:
    parser = argparse.ArgumentParser(description="Many tasks, three crashes.")
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--down", type=float, default=15.0, help="Seconds that the killed replica stays away.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "reports" / "many.json")
    options = parser.parse_args()
    result = asyncio.run(measure(options.tasks, down_s=options.down))
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
