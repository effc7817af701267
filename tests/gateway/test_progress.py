"""Progress and files, on real gateways: what a worker says of its task while it works, and what leaves with its result."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from clawbus.demo.model.server import ScriptedModel
from tests.company import Live, until
from tests.gateway.conftest import MAIN, turns_of

pytestmark = [pytest.mark.gateway, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
SHARES_A_COMPANY = True


def pub(message: str, kind: str = "progress", **more: object) -> str:
    """A directive: the worker's model calls nats_pub."""
    return f"@tool nats_pub {json.dumps({'to': 'ceo-genesis', 'type': kind, 'message': message, **more})}"


async def test_n8_progress_is_seen_while_the_task_runs_and_stays_to_be_replayed(
    duo: Live, brain: ScriptedModel
) -> None:
    """It is an event of the task: nobody's mail, and no turn of the requester."""
    task_id = await duo.spawn(f"{pub('half way there')}\n@exec sleep 3\n@reply all the way")

    async def status() -> str | None:
        answer = await duo.tool("hq", "ceo-genesis", "nats_tasks", action="status", taskIds=[task_id])
        return answer["text"] if "half way there" in answer["text"] else None

    assert "Reported: half way there" in await until(status, "the progress", 60)
    assert (await duo.view(task_id)).state == "running"
    view = await duo.settled(task_id)
    assert (view.state, view.reported) == ("done", "half way there")
    async with duo.owner() as bus:
        events = await duo.company.history(bus).events(task_id)
    assert [str(one.detail["what"]) for one in events if one.detail.get("said")] == ["half way there"]
    assert "half way there" not in (await duo.tool("hq", "ceo-genesis", "nats_inbox"))["text"]
    assert turns_of(brain, task_id) == 1


async def test_n9_a_file_comes_back_with_the_result(duo: Live) -> None:
    """Attached by its path, on the bus by its hash, checked before `done`, copied for the requester, who reads where."""
    attach = pub("the report", "report", artifacts=["out/report.md", "r2://bucket/big.bin"])
    task_id = await duo.spawn(
        f"@exec mkdir -p out && printf 'seven findings' > out/report.md\n{attach}\n@reply see the report"
    )
    view = await duo.settled(task_id)
    assert view.state == "done", view
    (text,) = await duo.announces(task_id)
    digest = hashlib.sha256(b"seven findings").hexdigest()
    assert f"report.md from cto-athena: 14 bytes, sha256 {digest}; copy: " in text
    assert "big.bin from cto-athena: r2://bucket/big.bin; no copy: elsewhere, not fetched" in text
    (path,) = re.findall(r"copy: (/\S+)", text)
    assert Path(path).read_text() == "seven findings"
    assert f"/workspaces/ceo-genesis/bus/{task_id}/report.md" in path


async def test_n9_a_task_whose_file_is_gone_from_the_bus_is_not_done(duo: Live) -> None:
    """It was attached, and then it went: the task ends as failed, and says which file and why."""
    attach = pub("the report", "report", artifacts=["lost.md"])
    task_id = await duo.spawn(f"@exec echo gone > lost.md\n{attach}\n@exec sleep 5\n@reply all is well")

    async def attached() -> bool:
        return (await duo.view(task_id)).reported == "the report"

    await until(attached, "the file", 60)
    async with duo.company.connect("provisioner") as bus:
        digest = hashlib.sha256(b"gone\n").hexdigest()
        await bus.api("STREAM.PURGE.ART", {"filter": duo.company.subjects.filter("art", sha256=digest, part="*")})
    view = await duo.settled(task_id)
    assert view.state == "failed"
    assert "artifact 'lost.md' of cto-athena is not on the bus: part 1 of 1 is missing" in view.result
    assert "all is well" in view.result


async def test_n9_a_file_goes_out_with_a_task(duo: Live, brain: ScriptedModel) -> None:
    """The model of the requester names a path in its workspace; the worker's turn reads where its copy lies."""
    call = {"agentId": "cto-athena", "task": "@reply read it", "artifacts": ["plan.txt"], "label": "with a file"}
    (duo.home.root / "gateways/hq/workspaces/ceo-genesis/plan.txt").write_text("the-plan\n")
    await duo.say("hq", "ceo-genesis", f"@tool nats_spawn {json.dumps(call)}", MAIN)

    async def given() -> str | None:
        async with duo.owner() as bus:
            views = await duo.company.history(bus).tasks()
        return next((view.task_id for view in views if view.label == "with a file"), None)

    task_id = await until(given, "the task", 60)
    await duo.settled(task_id)
    session = await duo.transcript("lab", f"agent:cto-athena:nats:{task_id}")
    (path,) = re.findall(r"plan.txt from ceo-genesis: .*; copy: (/\S+)", session[0][1])
    assert Path(path).read_text() == "the-plan\n"
    assert f"/workspaces/cto-athena/bus/{task_id}/" in path
