"""`kill -9` at random moments: of either node, either gateway, the server. One end per task, its result told once.

The short form runs in CI; the long one (`make test-long`) kills each ten times. Both write a report with the seconds
that each task needed from the kill to its announce, and what the model was asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import statistics
import time
from pathlib import Path
from typing import Any

import pytest

from clawbus.demo.model.server import ScriptedModel
from clawbus.errors import NotFound
from clawbus.tasks import TaskView
from tests.company import Live, until
from tests.gateway.conftest import turns_of

pytestmark = [pytest.mark.gateway, pytest.mark.asyncio(loop_scope="module")]
VICTIMS = ("node-hq", "node-lab", "nats-server", "gateway-hq", "gateway-lab")
REPORTS = Path(__file__).parents[1] / "bench" / "reports"
SPAN_S = 2.5  # from the spawn to the announce takes about that long when nothing is killed


async def one_kill(duo: Live, brain: ScriptedModel, victim: str, moment_s: float) -> dict[str, Any]:
    """Give a task, kill something so many seconds later, start it again, and look at what came of the task."""
    word = f"after {victim} at {moment_s:.2f}"
    task_id = await duo.spawn(f"@exec sleep 1\n@reply {word}")
    await asyncio.sleep(moment_s)
    before = await until(lambda: _seen(duo, task_id), "the task's first event", 10)
    duo.kill(victim)
    killed = time.monotonic()
    await duo.start(victim)
    restarted = time.monotonic()
    view = await duo.settled(task_id, 300)
    record = {
        "victim": victim, "moment_s": round(moment_s, 2), "state_then": before.state, "delivery_then": before.delivery,
        "restart_s": round(restarted - killed, 2), "recover_s": round(time.monotonic() - killed, 2),
        "state": view.state, "attempts": view.attempts, "repeats": view.repeats, "ends": await duo.ends(task_id),
        "announces": len(await duo.announces(task_id)), "turns": turns_of(brain, task_id),
    }  # fmt: skip
    print(json.dumps(record))
    assert word in view.result
    assert (record["state"], record["ends"], record["announces"]) == ("done", 1, 1), record
    assert record["turns"] == 1 or victim == "gateway-lab", record
    await duo.online("ceo-genesis", "cto-athena")
    return record


async def _seen(duo: Live, task_id: str) -> TaskView | None:
    """After a kill of the server, its first event may come a moment after the task itself."""
    with contextlib.suppress(NotFound):
        return await duo.view(task_id)
    return None


async def storm(duo: Live, brain: ScriptedModel, times: int, name: str) -> None:
    seed = int(os.environ.get("CLAWBUS_SEED", time.time_ns() % 1_000_000))
    print(f"seed {seed} (CLAWBUS_SEED={seed} repeats it)")
    dice = random.Random(seed)
    records = [await one_kill(duo, brain, victim, dice.uniform(0, SPAN_S)) for _ in range(times) for victim in VICTIMS]
    recover = {v: [r["recover_s"] for r in records if r["victim"] == v] for v in VICTIMS}
    report = {
        "seed": seed, "kills": len(records), "sync_interval": "always", "repeats": sum(r["repeats"] for r in records),
        "recover_s": {v: {"median": statistics.median(s), "max": max(s)} for v, s in recover.items()}, "records": records,
    }  # fmt: skip
    REPORTS.mkdir(exist_ok=True)
    (REPORTS / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n")


@pytest.mark.timeout(900)
async def test_kill_9_of_anything_once(duo: Live, brain: ScriptedModel) -> None:
    """Each process is killed once at a random moment: nothing lost, nothing finished or told twice."""
    await storm(duo, brain, 1, "kills-short")


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_kill_9_of_anything_ten_times(duo: Live, brain: ScriptedModel) -> None:
    """Each process is killed ten times at random moments: nothing lost, nothing finished or told twice."""
    await storm(duo, brain, 10, "kills-long")
