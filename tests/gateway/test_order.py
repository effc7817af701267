"""The order of writes: a node is killed right after each step, on real gateways, and the next start completes it."""

from __future__ import annotations

import sqlite3

import pytest

from clawbus.demo.model.server import ScriptedModel
from tests.company import Live
from tests.gateway.conftest import turns_of

pytestmark = [pytest.mark.gateway, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
SHARES_A_COMPANY = True


@pytest.mark.parametrize("step", ["held", "started", "replied", "ended", "told", "closed"])
async def test_the_workers_node_dies_after(duo: Live, brain: ScriptedModel, step: str) -> None:
    """One end, one turn, one announce, wherever the worker's node dies."""
    duo.kill("node-lab")
    duo.launch_dying("node-lab", step)
    task_id = await duo.spawn(f"@reply survived {step}")
    await duo.died("node-lab")
    await duo.start("node-lab")
    view = await duo.settled(task_id)
    assert (view.state, view.result) == ("done", f"survived {step}")
    assert (await duo.ends(task_id), turns_of(brain, task_id)) == (1, 1)
    assert len(await duo.announces(task_id)) == 1


@pytest.mark.parametrize("step", ["trying", "accepted", "announced"])
async def test_the_requesters_node_dies_after(duo: Live, brain: ScriptedModel, step: str) -> None:
    """The result is in the transcript once, wherever the requester's node dies."""
    duo.kill("node-hq")
    duo.launch_dying("node-hq", step)
    await duo.ready("node-hq")
    task_id = await duo.spawn(f"@reply told at {step}")
    await duo.died("node-hq")
    await duo.start("node-hq")
    view = await duo.settled(task_id)
    assert (view.state, await duo.ends(task_id), turns_of(brain, task_id)) == ("done", 1, 1)
    assert len(await duo.announces(task_id)) == 1


async def test_three_interrupted_attempts_and_the_task_is_dead(duo: Live) -> None:
    """A strike is a started attempt without an outcome. The third is the last; the requester is told why."""
    duo.kill("node-lab")
    duo.launch_dying("node-lab", "started")
    task_id = await duo.spawn("@reply never")
    await duo.died("node-lab")
    db = sqlite3.connect(duo.home.ledger("lab"), isolation_level=None)
    db.execute("UPDATE runs SET attempt = 3, boot_id = 'a gateway that is no more' WHERE task_id = ?", (task_id,))
    db.close()
    await duo.start("node-lab")
    view = await duo.settled(task_id)
    assert (view.state, await duo.ends(task_id)) == ("dead", 1)
    (text,) = await duo.announces(task_id)
    assert "3 attempts were started, and each was interrupted" in text


async def test_a_task_sent_while_the_bus_is_away_goes_out_when_it_is_back(duo: Live) -> None:
    """The model is told that it waits here; the node sends it by itself."""
    duo.kill("nats-server")
    answer = await duo.tool("hq", "ceo-genesis", "nats_spawn", agentId="cto-athena", task="@reply patience")
    assert answer["data"]["state"] == "waiting_for_bus"
    assert "it goes out by itself" in answer["text"]
    await duo.start("nats-server")
    view = await duo.settled(answer["data"]["taskId"])
    assert (view.state, view.result) == ("done", "patience")
