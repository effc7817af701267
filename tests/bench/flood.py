"""What others notice while one agent sends 10,000 messages. As JSON, each figure beside its baseline of the same run.

    python -m tests.bench.flood [--samples N] [--out FILE]

    task      a person asks an agent of another gateway, until the answer is there
    mail      a person writes to an agent beside the flooded one, on the same node, until it stands in its inbox

while nothing else happens (baseline); while an agent calls its tools as fast as its node answers (5,000 times `nats_spawn`
and `nats_pub` each, 100 calls side by side: more than the eight turns of a gateway can make); and while somebody who has
that gateway's key publishes as many himself, without a node. Both floods come from a process of their own, at the lowest
priority (nice 19): it stands for another machine, and shall cost the company what reaches it, not the processor.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, get_args

from clawbus import Client, Task, connect
from clawbus.bus import Bus
from clawbus.errors import BacklogFull
from clawbus.tasks import NewTask, make_task
from clawbus.tasks.budget_account import spend_of
from clawbus.tasks.new_message import NewMessage, make_message
from clawbus.wire.envelope import Envelope, Priority
from tests.company import Live, free_ports, live
from tests.server.crew import Crew, crew, crew_toml

EACH = 5_000
SIDE_BY_SIDE = 100
WRITERS = 8
MORE = """
[[gateways]]
id = "hq"
port = {0}
[[gateways]]
id = "den"
port = {1}
[[agents]]
id = "mad"
gateway = "hq"
[[agents]]
id = "victim"
gateway = "den"
[[agents]]
id = "neighbour"
gateway = "den"
"""
Times = dict[str, list[float]]


async def mind(_one: Crew, _agent: str, _task: Task) -> str:
    return "done"


async def sample(company: Live, client: Client, times: Times) -> None:
    """One task and one message of others, timed."""
    began = time.perf_counter()
    await client.ask("w0", "work", timeout_s=60)
    times["task"].append(time.perf_counter() - began)
    began = time.perf_counter()
    mark = f"message {began}"
    await client.send("neighbour", mark)
    while True:
        answer = await company.tool("den", "neighbour", "nats_inbox")
        if mark in answer["text"]:  # it is the only one: each is acknowledged at once
            times["mail"].append(time.perf_counter() - began)
            number = answer["data"]["messages"][0]["messageId"]
            await company.tool("den", "neighbour", "nats_inbox", action="ack", messageId=number)
            return


async def during(company: Live, client: Client, kind: str) -> tuple[Times, Counter[str]]:
    """Others' times while a process of its own floods."""
    times: Times = {"task": [], "mail": []}
    argv = [sys.executable, "-m", "tests.bench.flood", "--flood", kind, "--org", str(company.org_file)]
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    ending = asyncio.create_task(process.communicate())
    while not ending.done():
        await sample(company, client, times)
    out, _ = await ending
    return times, Counter(json.loads(out))


async def flood(kind: str, org_file: Path) -> None:
    os.setpriority(os.PRIO_PROCESS, 0, 19)
    company = Live(org_file.parent, org_file.read_text(), None, "")
    if kind == "tools":
        print(json.dumps(await by_tools(company)))
        return
    async with company.company.connect("gw-hq") as bus:
        print(json.dumps(await by_key(company, bus)))


async def by_tools(company: Live) -> Counter[str]:
    """A model that has lost its mind."""
    answers: Counter[str] = Counter()

    async def call(tool: str, **params: str) -> None:
        for _ in range(EACH // (SIDE_BY_SIDE // 2)):
            answer = await company.tool("hq", "mad", tool, **params)
            answers[f"{tool} {'taken' if answer['ok'] else 'refused'}"] += 1

    calls = [call("nats_spawn", agentId="victim", task="again") for _ in range(SIDE_BY_SIDE // 2)]
    calls += [call("nats_pub", to="victim", message="hey", priority="high") for _ in range(SIDE_BY_SIDE // 2)]
    await asyncio.gather(*calls)
    return answers


async def by_key(company: Live, bus: Bus) -> Counter[str]:
    """Somebody with the gateway's key, eight messages at a time. He reserves a turn for each task, so that they count."""
    answers: Counter[str] = Counter()
    spend = spend_of(bus, company.org)

    async def publish(what: str, subject: str, make: Callable[[], Envelope]) -> None:
        for _ in range(EACH // (WRITERS // 2)):
            envelope = make()
            try:
                if what == "task":
                    await spend.reserve(envelope)
                await bus.publish(subject, envelope.encode(), msg_id=envelope.id)
                answers[f"{what} taken"] += 1
            except BacklogFull:
                answers[f"{what} refused"] += 1

    def task(priority: Priority) -> Callable[[], Envelope]:
        return lambda: make_task(company.org, "mad", NewTask("victim", "again", priority=priority))

    def mail() -> Envelope:
        return make_message(company.org, "mad", NewMessage("victim", "hey", priority="high"))

    tasks = [publish("task", f"acme.tasks.victim.{one}.mad", task(one)) for one in get_args(Priority)]
    mails = [publish("mail", "acme.dm.victim.mad", mail) for _ in range(WRITERS // 2)]
    await asyncio.gather(*tasks, *mails)
    return answers


@contextlib.asynccontextmanager
async def company_of(folder: Path) -> AsyncIterator[tuple[Live, Client]]:
    ports = free_ports(3)
    toml = crew_toml(ports[0], 1, more=MORE.format(*ports[1:]))
    async with live(folder, None, toml=toml) as company, crew(company, mind), connect(company.org_file) as client:
        await company.start("node-hq", "node-den")
        yield company, client


async def measure(samples: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        async with company_of(Path(folder)) as (company, client):
            baseline: Times = {"task": [], "mail": []}
            for _ in range(5):  # these warm everything up
                await sample(company, client, {"task": [], "mail": []})
            for _ in range(samples):
                await sample(company, client, baseline)
            tools = await during(company, client, "tools")
            key = await during(company, client, "key")
    return {
        "messages": 2 * EACH, "sync_interval": "always", "python": platform.python_version(),
        "baseline": {name: row(values) for name, values in baseline.items()},
        "flood by the tools": beside(baseline, *tools),
        "flood with a gateway's key": beside(baseline, *key),
    }  # fmt: skip


def row(seconds: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"samples": len(seconds), "p50_ms": round(cuts[49] * 1000, 1), "p99_ms": round(cuts[98] * 1000, 1)}


def beside(baseline: Times, times: Times, answers: Counter[str]) -> dict[str, Any]:
    found: dict[str, Any] = dict(sorted(answers.items()))
    for name, values in times.items():
        one, base = row(values), row(baseline[name])
        found[name] = one | {"p99_ratio": round(one["p99_ms"] / base["p99_ms"], 2)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="What others notice of a flood.")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "reports" / "flood.json")
    parser.add_argument("--flood", choices=("tools", "key"), help=argparse.SUPPRESS)
    parser.add_argument("--org", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.flood:
        asyncio.run(flood(options.flood, options.org))
        return
    result = asyncio.run(measure(options.samples))
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
