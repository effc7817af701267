"""What clawbus itself adds to a delegation, measured on real gateways: p50 and p99 over 100 runs, as JSON.

    python -m tests.bench.road [--runs N] [--out FILE]

The parts, each from timestamps of one clock (both nodes run in this process, the gateways and the server are real):

    shim_to_ack        a tool call reaches the socket      -> the server has acknowledged the task
    delivery_to_rpc    the task reaches the worker's node  -> the call that starts the turn is sent
    wait_to_result     agent.wait has returned             -> the server has acknowledged the result
    result_to_announce the result reaches the requester    -> the call that wakes the session is sent; in between the
                       gateway is asked whether that session still exists (gateway_checks_session)

Beside them the gateway's own time: from the call to `accepted`, and the turn of a model that answers at once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import platform
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from clawbus.bus import Ack, Bus, Delivery
from clawbus.client.watch import watching
from clawbus.demo.model.server import ScriptedModel
from clawbus.gateway import GatewayRpc
from clawbus.gateway.setup import installation as openclaw
from clawbus.node import Node
from clawbus.node.ledger import Ledger
from clawbus.tasks.halt import Halt
from tests.company import Live, live

OURS = ("shim_to_ack", "delivery_to_rpc", "wait_to_result", "result_to_announce")


class Stopwatch:
    """Marks in the order of one task's life, and the spans between them in milliseconds."""

    def __init__(self) -> None:
        self.marks: dict[str, float] = {}
        self.spans: dict[str, list[float]] = defaultdict(list)

    def mark(self, name: str) -> None:
        self.marks.setdefault(name, time.perf_counter())

    def lap(self) -> None:
        """Take the spans of one run and begin the next."""
        for span, start, end in (
            ("shim_to_ack", "call", "task_acked"),
            ("delivery_to_rpc", "delivered", "turn_sent"),
            ("wait_to_result", "turn_ended", "result_acked"),
            ("result_to_announce", "result_here", "announce_sent"),
            ("gateway_checks_session", "check_sent", "check_done"),
            ("gateway_accepts_turn", "turn_sent", "turn_accepted"),
            ("gateway_runs_turn", "turn_sent", "turn_ended"),
            ("gateway_accepts_announce", "announce_sent", "announce_accepted"),
        ):
            self.spans[span].append((self.marks[end] - self.marks[start]) * 1000)
        together = sum(self.spans[name][-1] for name in OURS)
        self.spans["ours_together"].append(together)
        self.spans["ours_without_the_gateways_check"].append(together - self.spans["gateway_checks_session"][-1])
        self.marks.clear()


def tap(watch: Stopwatch, bus: Bus, rpc: GatewayRpc, node: Node) -> None:
    """Read the clock where messages pass, without changing what is done."""
    publish, call, accept, mail = bus.publish, rpc.call, node.worker._intake._accept, node.reader.handle

    async def timed_publish(subject: str, data: bytes, **more: Any) -> Ack:
        ack = await publish(subject, data, **more)
        watch.mark({"tasks": "task_acked", "dm": "result_acked"}.get(subject.split(".")[1], "other"))
        return ack

    async def timed_call(method: str, params: dict[str, Any], timeout_s: float = 30.0) -> dict[str, Any]:
        what = "turn" if ":nats:" in str(params.get("sessionKey")) else "announce"
        if method == "agent":
            watch.mark(f"{what}_sent")
        if method == "sessions.describe":
            watch.mark("check_sent")
        answer = await call(method, params, timeout_s)
        if method == "agent":
            watch.mark(f"{what}_accepted")
        if method == "sessions.describe":
            watch.mark("check_done")
        if method == "agent.wait" and answer.get("endedAt") and "turn_accepted" in watch.marks:
            watch.mark("turn_ended")
        return answer

    bus.publish, rpc.call = timed_publish, timed_call  # type: ignore[method-assign]
    node.worker._intake._accept = before(watch, "delivered", accept)  # type: ignore[method-assign,assignment]
    node.reader.handle = before(watch, "result_here", mail)  # type: ignore[method-assign,assignment]


def before(
    watch: Stopwatch, name: str, inner: Callable[[Delivery], Awaitable[Any]]
) -> Callable[[Delivery], Awaitable[Any]]:
    async def timed(delivery: Delivery) -> Any:
        watch.mark(name)
        return await inner(delivery)

    return timed


@contextlib.asynccontextmanager
async def node_here(company: Live, gateway: str, watch: Stopwatch) -> AsyncIterator[None]:
    """A node in this process, so that all stamps are of one clock."""
    with Ledger(company.home.ledger(gateway)) as ledger:
        async with company.company.connect(f"gw-{gateway}") as bus:
            halt = Halt(bus, company.org)
            rpc = GatewayRpc(company.org.gateway(gateway).port, company.company.token_file(gateway), halt.check)
            node = Node(company.org, gateway, bus, rpc, ledger, halt)
            tap(watch, bus, rpc, node)
            task = asyncio.create_task(node.run(company.home.socket(gateway)))
            await company.ready(f"node-{gateway}")
            yield
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def measure(runs: int) -> dict[str, Any]:
    claw = await openclaw.find(install=True, say=print)
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder, ScriptedModel() as model:
        async with live(Path(folder), claw, model.url) as company:
            await company.start("gateway-hq", "gateway-lab")
            async with node_here(company, "hq", watch), node_here(company, "lab", watch):
                await company.online("ceo-genesis", "cto-athena")
                await company.say("hq", "ceo-genesis", "@reply hello")
                async with company.owner() as owner, watching(owner, company.company.subjects) as heard:
                    for number in range(runs + 3):
                        watch.marks.clear()
                        watch.mark("call")
                        await company.spawn(f"@reply run {number}")
                        while (await heard.get()).kind != "announced":
                            pass
                        watch.lap()
    spans = {name: values[3:] for name, values in watch.spans.items()}  # the first three warm everything up
    return report(spans, runs, claw.version)


def report(spans: dict[str, list[float]], runs: int, version: str) -> dict[str, Any]:
    def row(values: list[float]) -> dict[str, float]:
        cuts = statistics.quantiles(values, n=100, method="inclusive")
        return {"p50_ms": round(cuts[49], 2), "p99_ms": round(cuts[98], 2), "max_ms": round(max(values), 2)}

    return {
        "runs": runs, "sync_interval": "always", "openclaw": version, "python": platform.python_version(),
        "ours": {name: row(spans[name]) for name in (*OURS, "ours_together", "ours_without_the_gateways_check")},
        "gateway": {name: row(values) for name, values in spans.items() if name.startswith("gateway")},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="What clawbus itself adds to a delegation.")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "reports" / "road.json")
    options = parser.parse_args()
    result = asyncio.run(measure(options.runs))
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
