"""A company that changes while it runs: real `clawbus up`, real nats-server, workers in processes of their own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from clawbus import Client, connect
from clawbus.bus import Bus
from clawbus.bus.identity import load_or_create
from clawbus.client.company import Company
from clawbus.errors import ClawbusError, Refused
from clawbus.gateway.setup import managed_gateway as own
from clawbus.gateway.setup.souls import render, write
from clawbus.ops.apply import plan
from clawbus.ops.up import planned_model_url
from clawbus.wire.channels import DEAD, INBOX, TASKS
from tests.command import clawbus
from tests.company import free_ports, until
from tests.up import Up

HEAD = """
company = "acme"
bus.port = {port}
policies.lease_s = 5
[[gateways]]
id = "east"
kind = "program"
slots = 1
[[agents]]
id = "eng-east"
gateway = "east"
"""
WEST = """
[[gateways]]
id = "west"
kind = "program"
slots = 1
[[agents]]
id = "eng-west"
gateway = "west"
"""


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[Up]:
    company = Up(tmp_path, HEAD.format(port=free_ports(1)[0]) + WEST)
    try:
        await company.ready()
        yield company
    finally:
        company.live.end()
        company.end()


@pytest.fixture
async def client(up: Up) -> AsyncIterator[Client]:
    async with connect(up.file) as one:
        yield one


async def running(client: Client, task_id: str) -> None:
    async def look() -> bool:
        with contextlib.suppress(ClawbusError):
            return (await client.look(task_id)).state == "running"
        return False

    await until(look, f"{task_id} running")


async def stored(up: Up, stream: str, pattern: str) -> list[bytes]:
    async with up.live.owner() as bus:
        return [one.data for one in await bus.stored(stream, pattern)]


async def letters(up: Up, count: int) -> list[dict[str, Any]]:
    return [json.loads(data) for data in await stored(up, DEAD, "acme.dead.*.*")][:count]


async def test_n16_an_agent_joins_a_running_company_and_nobody_is_disturbed(up: Up, client: Client) -> None:
    """A task that runs goes on in the same process and ends once; the server runs on; the new agent answers."""
    live = up.live
    before = up.file.read_text()
    await live.start("program-east")
    task = await client.start("eng-east", "@sleep 4")
    await running(client, task.id)
    server = up.pid("nats-server")

    new = before + '[[gateways]]\nid = "north"\nkind = "program"\n[[agents]]\nid = "eng-north"\ngateway = "north"\n'
    up.file.write_text(new)
    shown = await asyncio.to_thread(up.run, "plan")
    assert "keys        new      gw-north" in shown.stdout
    assert "bus         new      TASKS/gw-north-medium" in shown.stdout
    assert "gw-east" not in shown.stdout
    await up.apply(new)
    assert (await asyncio.to_thread(up.run, "plan")).stdout == "Nothing would change.\n"

    await up.live.start("program-north")
    async with connect(up.file) as knows:
        assert (await knows.ask("eng-north", "hello", timeout_s=20)).text == "hello (attempt 1)"
    result = await client.wait(task, 20)
    assert (result.text, result.by) == ("@sleep 4 (attempt 1)", "eng-east")
    assert await up.live.ends(task.id) == 1
    assert up.pid("nats-server") == server


async def test_n16_what_waits_for_an_agent_that_leaves_becomes_dead_letters_with_the_reason(
    up: Up, client: Client
) -> None:
    """Its running task too; who asked hears it; its key is refused; a task of another agent goes on and ends once."""
    live = up.live
    await live.start("program-east", "program-west")
    others = await client.start("eng-east", "@sleep 5")
    hanging = await client.start("eng-west", "@hang")
    for task in (others, hanging):
        await running(client, task.id)
    waiting = [await client.start("eng-west", f"number {n}") for n in range(3)]
    await client.send("eng-west", "remember the milk")
    key = up.file.parent / "gw-west.nk"
    shutil.copy(live.home.key("gw-west"), key)

    said = await up.apply(up.file.read_text().replace(WEST, ""))
    assert "4 dead letters" in said
    assert "key gw-west revoked" in said
    for task in (hanging, *waiting):
        result = await client.wait(task, 10)
        assert result.status == "dead"
        assert result.text.startswith("eng-west has left the company. ")
    found = await letters(up, 5)
    assert sorted(one["envelope"]["task_id"] for one in found if "envelope" in one) == sorted(
        task.id for task in (hanging, *waiting)
    )
    (mail,) = [one for one in found if "raw" in one]
    assert "remember the milk" in base64.b64decode(mail["raw"]).decode()
    assert all("eng-west has left the company" in one["reason"] for one in found)
    for stream, pattern in ((TASKS, "acme.tasks.eng-west.*.*"), (INBOX, "acme.dm.eng-west.*")):
        assert await stored(up, stream, pattern) == []
    with pytest.raises(Refused, match="does not know the key"):
        async with Bus.connect(live.org.url, load_or_create("gw-west", key), "gone"):
            pass
    assert (await client.wait(others, 20)).by == "eng-east"
    assert await up.live.ends(others.id) == 1


async def test_n16_what_waits_for_an_agent_that_leaves_is_moved_to_another(up: Up, client: Client) -> None:
    """With --move: each task is done once, by the heir, and its result comes to who had asked."""
    live = up.live
    await live.start("program-east")
    waiting = [await client.start("eng-west", f"number {n}") for n in range(3)]
    await client.send("eng-west", "remember the milk")
    without = up.file.read_text().replace(WEST, "")
    up.file.write_text(without)
    typo = await asyncio.to_thread(up.run, "apply", "--move", "eng-wst=eng-east")
    assert (typo.returncode, "Did you mean 'eng-west'?" in typo.stderr) == (4, True), typo.stderr
    said = await up.apply(without, "--move", "eng-west=eng-east")
    assert "3 moved to eng-east" in said
    for task in waiting:
        result = await client.wait(task, 10)
        assert result.status == "cancelled"
        assert "eng-east has its task now" in result.text

    async def results() -> list[str]:
        mail = [
            one.text for one in await client.inbox() if one.type == "result" and "was given to eng-east" in one.text
        ]
        return mail if len(mail) == 3 else []

    texts = await until(results, "the results of what was moved")
    assert sorted(text.splitlines()[-1] for text in texts) == [f"number {n} (attempt 1)" for n in range(3)]
    assert "remember the milk" in (await stored(up, INBOX, "acme.dm.eng-east.steward"))[0].decode()
    assert await letters(up, 1) == []


async def test_a_move_that_cannot_be_is_refused_before_anything_is_changed(up: Up) -> None:
    """From somebody who is still there, to nobody, or no move at all."""
    for move, code, words in (
        ("eng-west=eng-east", 2, "is still in org.toml"),
        ("gone=nobody", 4, "no such agent"),
        ("eng-west", 2, "not OLD=NEW"),
    ):
        run = await asyncio.to_thread(up.run, "apply", "--move", move)
        assert (run.returncode, words in run.stderr) == (code, True), run.stderr


async def test_what_only_a_new_start_can_change_is_refused(up: Up) -> None:
    """Another port for the bus: the running server says so, and the company runs on."""
    text = up.file.read_text()
    port = up.live.org.bus.port
    up.file.write_text(text.replace(str(port), str(port + 1)))
    run = await asyncio.to_thread(up.run, "apply")
    assert (run.returncode, "[bus] has changed: then end it" in run.stderr) == (5, True), run.stderr
    up.file.write_text(text)
    assert "done" in await up.apply(text)


async def test_apply_without_a_running_company_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "org.toml").write_text(HEAD.format(port=free_ports(1)[0]))
    run = await asyncio.to_thread(clawbus, "apply", "--org", str(tmp_path / "org.toml"))
    assert (run.returncode, "clawbus up" in run.stderr) == (5, True)
    assert not (tmp_path / ".clawbus" / "keys").exists() or not list((tmp_path / ".clawbus" / "keys").iterdir())


async def test_a_plan_names_what_would_change_in_gateways_and_workspaces_and_changes_nothing(tmp_path: Path) -> None:
    """Settings and souls: new, changed, yours, and what is ended. Run twice, it says the same."""
    head = 'company = "acme"\n[[gateways]]\nid = "hq"\nport = 18789\n[[agents]]\nid = "ceo"\nrole = "role-ceo"\ngateway = "hq"\n'
    more = '[[gateways]]\nid = "lab"\nport = 18909\n[[agents]]\nid = "qa"\nrole = "role-qa"\ngateway = "lab"\n'
    file = tmp_path / "org.toml"
    file.write_text(head)
    company = Company.open(file)
    url = planned_model_url(company)
    mine = own.write_settings(company.home, company.org, "hq", company.home.root / "plugin" / "clawbus", url)
    write(mine.workspace("ceo"), render(company.org.agent("ceo"), company.org))

    async def said(toml: str) -> set[tuple[str, str, str]]:
        file.write_text(toml)
        before = {path: path.read_bytes() for path in company.home.root.rglob("*") if path.is_file()}
        first, second = [await plan(Company.open(file), None, url) for _ in range(2)]
        assert first == second
        assert before == {path: path.read_bytes() for path in company.home.root.rglob("*") if path.is_file()}
        return {(one.area, one.name, one.what) for one in first if one.area != "key"}

    assert await said(head) == set()
    assert await said(head + more) == {
        ("gateway", "lab", "new"),
        ("workspace", "qa/SOUL.md", "new"),
        ("workspace", "qa/AGENTS.md", "new"),
        ("workspace", "ceo/AGENTS.md", "changed"),
    }
    (mine.workspace("ceo") / "SOUL.md").write_text("mine\n")
    assert await said(head.replace('"hq"\nport', '"hq"\nslots = 2\nport')) == {("workspace", "ceo/SOUL.md", "differs")}
    assert ("gateway", "hq", "changed") in await said(head.replace("18789", "19789"))
    assert ("gateway", "hq", "removed") in await said(head.replace('"hq"', '"home"'))
