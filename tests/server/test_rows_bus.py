"""Rows that a real nats-server and real nodes show without a gateway: A1, A5, G8, N10."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from clawbus.client.person import Person
from clawbus.tasks import NewTask, make_task
from clawbus.wire.channels import TASKS
from clawbus.wire.envelope import Envelope, decode, now
from clawbus.wire.subjects import new_message_id
from tests.command import clawbus
from tests.company import Live, duo_toml, free_ports, live, until

AGENT = "cto-athena"


async def mail(company: Live, text: str, to: str = AGENT, **more: Any) -> None:
    """A message of the owner, stored when this returns."""
    one = Envelope(id=new_message_id("owner"), type="message", sender="owner", to=to, body=text, **more)
    async with company.owner() as bus:
        await bus.publish(company.company.subjects.dm(to, "owner"), one.encode(), msg_id=one.id)


async def inbox(company: Live, agent: str = AGENT, gateway: str = "lab") -> list[dict[str, Any]]:
    """What nats_inbox shows an agent, as data; and its text, message by message."""
    read = await company.tool(gateway, agent, "nats_inbox")
    texts = read["text"].split("[clawbus message] ")[1:]
    return [data | {"text": text} for data, text in zip(read["data"]["messages"], texts, strict=True)]


async def waits(company: Live, count: int, agent: str = AGENT, gateway: str = "lab") -> list[dict[str, Any]]:
    """The inbox as soon as it shows so many."""

    async def look() -> list[dict[str, Any]] | None:
        shown = await inbox(company, agent, gateway)
        return shown if len(shown) == count else None

    return await until(look, f"{count} messages for {agent}", 20)


def bodies(shown: list[dict[str, Any]]) -> list[str]:
    """The text between the marks."""
    return [
        one["text"].split("<<<")[1].split("\n", 1)[1].rsplit("\n", 2)[0].split("\nCLAWBUS-DATA")[0] for one in shown
    ]


async def test_a1_what_arrives_while_an_agent_is_away_waits_for_it(bus_only: Live) -> None:
    """Nobody serves the agent, and the server is killed in between: each message is there, whole and in order."""
    yesterday = now() - timedelta(days=1)
    for number in range(3):
        await mail(bus_only, f"letter {number}", subject=f"no. {number}", created_at=yesterday)
    bus_only.kill("nats-server")
    await bus_only.start("nats-server", "node-lab")
    shown = await waits(bus_only, 3)
    sequence = [int(one["messageId"]) for one in shown]
    assert sequence == sorted({*sequence})
    for number, one in enumerate(shown):
        assert f"Subject: no. {number}\n\nletter {number}\n" in one["text"]
        assert one["text"].startswith(f"{one['messageId']}\nFrom: owner, verified by signature\n")
        assert f"Sent: {yesterday:%Y-%m-%d %H:%M:%S} UTC" in one["text"]


async def test_a5_a_restart_resumes_at_the_first_unacked_message(bus_only: Live) -> None:
    """What the agent has acknowledged is gone; all else is there again, in its order, however often it was read."""
    await bus_only.start("node-lab")
    for number in range(4):
        await mail(bus_only, f"letter {number}")
    first = (await waits(bus_only, 4))[0]
    await bus_only.tool("lab", AGENT, "nats_inbox", action="ack", messageId=first["messageId"])
    bus_only.kill("node-lab")
    bus_only.home.ledger("lab").unlink()  # a new disk: the bus alone knows what was acknowledged
    await bus_only.start("node-lab")
    assert bodies(await waits(bus_only, 3)) == ["letter 1", "letter 2", "letter 3"]


async def test_a5_a_partition_is_a_pause(bus_only: Live) -> None:
    """What is said while the bus is away goes out when it is back: once each, in its order."""
    await bus_only.start("node-hq", "node-lab")
    bus_only.kill("nats-server")
    for number in range(3):
        said = await bus_only.tool("hq", "ceo-genesis", "nats_pub", to=AGENT, message=f"letter {number}")
        assert said["ok"]
        assert "the bus is away, and it goes out by itself when that is over" in said["text"]
    await bus_only.start("nats-server")
    assert bodies(await waits(bus_only, 3)) == ["letter 0", "letter 1", "letter 2"]


async def test_a5_overflow_is_a_refusal_with_a_reason_and_nothing_is_dropped(bus_only: Live) -> None:
    """The task that is too many is refused in words; those that were there before are all still there."""
    await bus_only.start("node-hq")
    quota = bus_only.org.policies.quota
    given = [await bus_only.spawn(f"task {number}") for number in range(quota)]
    over = await bus_only.tool("hq", "ceo-genesis", "nats_spawn", agentId=AGENT, task="one too many")
    assert (over["ok"], over["data"]) == (False, {"error": "BacklogFull"})
    assert "backlog full" in over["text"]
    async with bus_only.owner() as owner:
        stored = await owner.stored(TASKS, bus_only.company.subjects.everything("tasks"))
    assert [decode(one.data, "ceo-genesis").task_id for one in stored] == given


@pytest.mark.parametrize("quota", [20, 3])
async def test_g8_a_full_backlog_says_how_many_wait_and_when_to_retry(tmp_path: Path, quota: int) -> None:
    """To an agent and to a person at the terminal, in the same words; and nothing is kept of what was refused."""
    toml = duo_toml(free_ports(3)).replace("[[gateways]]", f"policies.quota = {quota}\n[[gateways]]", 1)
    async with live(tmp_path, None, toml=toml) as company:
        await company.start("node-hq")
        for number in range(quota):
            await company.spawn(f"task {number}")
            async with company.owner() as bus:
                await Person(company.company, bus, "owner").give(make_task(company.org, "owner", NewTask(AGENT, "x")))
        agents = await company.tool("hq", "ceo-genesis", "nats_spawn", agentId=AGENT, task="one too many")
        persons = await asyncio.to_thread(
            clawbus, "ask", AGENT, "one too many", "--no-wait", "--org", str(tmp_path / "org.toml")
        )
        assert (agents["ok"], persons.returncode) == (False, 6)
        for said in (agents["text"], persons.stderr):
            assert f"backlog full, {quota} waiting" in said
            assert "retry after 60 s" in said.lower()
        listed = await company.tool("hq", "ceo-genesis", "nats_tasks", action="list")
        assert len(listed["data"]["tasks"]) == quota
        company.kill("node-hq")
        company.home.ledger("hq").unlink()  # a new disk: the bus alone knows how many wait
        await company.start("node-hq")
        forgot = await company.tool("hq", "ceo-genesis", "nats_spawn", agentId=AGENT, task="one too many")
        assert f"backlog full, {quota} waiting" in forgot["text"]


async def test_n10_each_agent_of_a_gateway_has_its_own_inbox(tmp_path: Path) -> None:
    """Three agents in one gateway: each reads what was sent to it, and cannot acknowledge what was not."""
    more = "".join(f'[[agents]]\nid = "eng-{name}"\ngateway = "lab"\n' for name in ("ada", "bob"))
    agents = (AGENT, "eng-ada", "eng-bob")
    async with live(tmp_path, None, toml=duo_toml(free_ports(3)) + more) as company:
        await company.start("node-lab")
        for number in range(2):
            for agent in agents:
                await mail(company, f"{number} for {agent}", to=agent)
        numbers = {}
        for agent in agents:
            shown = await waits(company, 2, agent)
            assert bodies(shown) == [f"0 for {agent}", f"1 for {agent}"]
            numbers[agent] = shown[0]["messageId"]
        others = await company.tool("lab", "eng-bob", "nats_inbox", action="ack", messageId=numbers["eng-ada"])
        assert not others["ok"]
        assert (await company.tool("lab", "eng-ada", "nats_inbox", action="ack", messageId=numbers["eng-ada"]))["ok"]
        assert [len(await inbox(company, agent)) for agent in agents] == [2, 1, 2]
