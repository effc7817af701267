"""What the steward brings to an agent, taken in by the agent's real node: as results of tasks that the agent gave."""

from __future__ import annotations

from typing import Any

import pytest

from clawbus.org import STEWARD
from clawbus.wire.envelope import Envelope
from clawbus.wire.subjects import new_message_id, new_task_id
from tests.company import Live, until


@pytest.fixture
async def asked(bus_only: Live) -> tuple[Live, str]:
    """The CEO has given a task away. Returns its id, too."""
    await bus_only.start("node-hq")
    return bus_only, await bus_only.spawn("slowly")


async def brought(company: Live, key: str, sender: str, **fields: Any) -> None:
    """A result in the CEO's inbox."""
    told: dict[str, Any] = {"type": "result", "to": "ceo-genesis", "body": "x", "status": "done"}
    mail = Envelope(id=new_message_id(sender), sender=sender, **{**told, **fields})
    async with company.company.connect(key) as bus:
        await bus.publish(company.company.subjects.dm("ceo-genesis", sender), mail.encode(), msg_id=mail.id)


async def states(company: Live) -> dict[str, str]:
    """The tasks that the CEO's ledger knows, and how each stands."""
    answer = await company.tool("hq", "ceo-genesis", "nats_tasks", action="list")
    return {one["taskId"]: one["state"] for one in answer["data"]["tasks"]}


async def test_a_task_that_the_steward_has_ended_has_its_result(asked: tuple[Live, str]) -> None:
    company, task_id = asked
    await brought(company, "steward", STEWARD, task_id=task_id, status="timed_out")

    async def ended() -> bool:
        return (await states(company))[task_id] == "timed_out"

    await until(ended, "the end at the requester")


async def test_what_came_of_a_task_is_adopted_into_its_session(asked: tuple[Live, str]) -> None:
    """A task that the steward gave in the agent's place has a row of its own; twice brought, it is there once."""
    company, task_id = asked
    further = new_task_id()
    for _ in range(2):
        await brought(company, "steward", STEWARD, task_id=further, parent=task_id)

    async def adopted() -> bool:
        return (await states(company)).get(further) == "done"

    await until(adopted, "the adopted result")
    assert set(await states(company)) == {task_id, further}


async def test_nobody_else_can_bring_such_a_result(asked: tuple[Live, str]) -> None:
    """Of another agent, and of the steward without a parent that is the agent's own, it is mail like any other."""
    company, task_id = asked
    strangers = new_task_id()
    await brought(company, "gw-lab", "cto-athena", task_id=new_task_id(), parent=task_id)
    await brought(company, "steward", STEWARD, task_id=new_task_id(), parent=strangers)

    async def lies_there() -> bool:
        answer = await company.tool("hq", "ceo-genesis", "nats_inbox", action="read")
        return len(answer["data"]["messages"]) == 2

    await until(lies_there, "both in the inbox")
    assert set(await states(company)) == {task_id}
