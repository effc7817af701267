"""The order of writes: a node is killed right after each step, on real gateways, and the next start completes it."""

from __future__ import annotations

import pytest

from clawbus.demo.model import ScriptedModel
from tests.company import Live
from tests.gateway.conftest import turns_of

pytestmark = [pytest.mark.gateway, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


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
