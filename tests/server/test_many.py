"""The short form of tests/bench/many.py: what must be true of many tasks is true of a few hundred, with the same crashes."""

from __future__ import annotations

import pytest

from tests.bench.many import GIVER, REPLICAS, SERVER, measure

TASKS = 300


@pytest.mark.timeout(240)
async def test_g10_three_crashes_lose_nothing_and_finish_nothing_twice() -> None:
    """nats-server, a replica and the giving program are killed under load; each task has its one end and its result."""
    report = await measure(TASKS, lease_s=5)
    assert [one["killed"] for one in report["crashes"]] == [SERVER, f"program-{REPLICAS[0]}", GIVER]
    assert {
        name: report[name] for name in ("results_received", "done", "tasks_with_one_end", "ends_on_the_server")
    } == {
        "results_received": TASKS,
        "done": TASKS,
        "tasks_with_one_end": TASKS,
        "ends_on_the_server": TASKS,
    }
    assert (report["lost"], report["finished_twice"], report["left_in_streams"]["TASKS"]) == (0, 0, 0)
    assert report["server_peak_rss_mib"]["most"] < 256
    assert report["sync_interval"] == "always"
