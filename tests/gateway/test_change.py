"""Agents that join and leave a real OpenClaw gateway while others of it are in the middle of a turn."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from clawbus import Client, connect
from clawbus.errors import ClawbusError
from clawbus.gateway.setup.installation import OpenClaw
from clawbus.tasks import TaskView
from tests.company import free_ports, until
from tests.up import Up

pytestmark = [pytest.mark.gateway, pytest.mark.timeout(600)]
TOML = """
company = "acme"
bus.port = {0}
policies.lease_s = 10
[[gateways]]
id = "hq"
port = {1}
[[agents]]
id = "ceo"
role = "role-ceo"
gateway = "hq"
[[agents]]
id = "cto"
role = "role-devops"
reports_to = "ceo"
gateway = "hq"
"""
OPS = """
[[agents]]
id = "ops"
role = "role-devops"
reports_to = "cto"
gateway = "hq"
"""


@pytest.fixture
async def up(tmp_path: Path, claw: OpenClaw) -> AsyncIterator[Up]:
    company = Up(tmp_path, TOML.format(*free_ports(2)))
    try:
        await company.ready()
        yield company
    finally:
        company.end()


async def seen(client: Client, task_id: str, what: Callable[[TaskView], bool]) -> None:
    async def look() -> bool:
        with contextlib.suppress(ClawbusError):
            return what(await client.look(task_id))
        return False

    await until(look, f"the state of {task_id}", 120)


async def starts(up: Up, task_id: str) -> list[str]:
    """The kinds of events of a task that begin an attempt."""
    async with up.live.owner() as bus:
        events = await up.live.company.history(bus).events(task_id)
    return [event.kind for event in events if event.kind in ("started", "retrying")]


async def test_n16_agents_join_and_leave_a_gateway_and_its_running_turns_go_on(up: Up) -> None:
    """One joins, and answers. It leaves in the middle of its own turn, which is stopped. Two other turns end once.

    The first has only just been started when the settings change, and may be dropped by the gateway before any model was
    called: it is begun once more. The second is in a tool call when they change again, and never knows of it.
    """
    first = up.file.read_text()
    gateway = up.pid("gateway-hq")
    async with connect(up.file) as client:
        fresh = await client.start("ceo", "@reply hello-from-ceo")
        await seen(client, fresh.id, lambda view: view.state == "running")
        await up.apply(first + OPS)
        assert (await client.wait(fresh, 120)).text == "hello-from-ceo"
        calling = await client.start("cto", "@exec sleep 20\n@exec echo still-here")
        async with connect(up.file) as knows:
            assert (await knows.ask("ops", "@exec echo hello-from-ops", timeout_s=120)).text == "hello-from-ops"
            hanging = await knows.start("ops", "@hang")
            await seen(knows, hanging.id, lambda view: view.state == "running")
            await seen(client, calling.id, lambda view: bool(view.progress))
            said = await up.apply(first)
            assert "ops has left" in said
            assert (await knows.wait(hanging, 20)).status == "dead"
        assert (await client.wait(calling, 120)).text.split()[-1] == "still-here"
    assert await starts(up, calling.id) == ["started"]
    assert [await up.live.ends(task.id) for task in (calling, fresh, hanging)] == [1, 1, 1]
    assert up.pid("gateway-hq") == gateway

    async def stopped() -> bool:
        with contextlib.closing(sqlite3.connect(up.live.home.ledger("hq"))) as ledger:
            open_runs = "SELECT count(*) FROM runs WHERE worker = 'ops' AND state != 'closed'"
            return int(ledger.execute(open_runs).fetchone()[0]) == 0

    await until(stopped, "the end of the turn of who has left", 60)
