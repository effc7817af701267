"""Pools and teams on a real nats-server, their members programs in processes of their own that are killed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clawbus import Client, Task, connect
from clawbus.bus import TaskConsumer
from clawbus.client.company import Company
from clawbus.tasks import NewTask, make_task
from clawbus.wire.channels import BCAST, TASKS
from clawbus.wire.envelope import decode
from clawbus.wire.events import Event
from tests.company import Live, free_ports, live, until

TOML = """
company = "acme"
bus.port = {port}
policies.lease_s = 5
[[gateways]]
id = "east"
kind = "program"
slots = 1
[[gateways]]
id = "west"
kind = "program"
slots = 4
[[gateways]]
id = "desk"
kind = "program"
slots = 4
[[agents]]
id = "eng-east"
gateway = "east"
team = "field"
[[agents]]
id = "eng-west"
gateway = "west"
team = "field"
[[agents]]
id = "amy"
gateway = "desk"
team = "office"
[[agents]]
id = "bob"
gateway = "desk"
team = "office"
[[pools]]
id = "engineers"
members = ["eng-east", "eng-west"]
[[pools]]
id = "everyone"
members = ["amy", "eng-east", "eng-west"]
"""
EAST, WEST, DESK = "program-east", "program-west", "program-desk"


@pytest.fixture
async def acme(tmp_path: Path) -> AsyncIterator[Live]:
    async with live(tmp_path, None, toml=TOML.format(port=free_ports(1)[0])) as company:
        yield company


@pytest.fixture
async def client(acme: Live) -> AsyncIterator[Client]:
    async with connect(acme.org_file) as one:
        yield one


async def events(acme: Live, task: Task) -> list[Event]:
    async with acme.owner() as bus:
        return await acme.company.history(bus).events(task.id)


async def said(acme: Live, task: Task, kind: str, by: str = "") -> Event:
    """Wait for an event of a task."""

    async def look() -> Event | None:
        return next(
            (one for one in await events(acme, task) if one.kind == kind and one.sender in (by or one.sender)), None
        )

    return await until(look, f"{kind} {by}")


async def test_g5_one_task_is_done_by_one_replica(acme: Live, client: Client) -> None:
    """Sixty tasks for a pool of two: each is started once, by either of them, and has one end."""
    await acme.start(EAST, WEST)
    tasks = [await client.start("engineers", f"number {n}", room_s=20) for n in range(60)]
    results = await client.wait_all(tasks, 30)
    assert all(one.done for one in results)
    assert {one.by for one in results} == {"eng-east", "eng-west"}
    found = await until(lambda: _all_said(acme, 60), "all events")
    starts = Counter(event.task_id for event in found if event.kind in ("started", "retrying"))
    assert starts == Counter({task.id: 1 for task in tasks})
    assert [await acme.ends(task.id) for task in tasks] == [1] * 60


async def _all_said(acme: Live, count: int) -> list[Event]:
    async with acme.owner() as bus:
        found = await acme.company.history(bus).events()
    return found if sum(event.kind == "ended" for event in found) >= count else []


async def test_g5_what_a_replica_has_done_stays_done_when_it_leaves_the_pool(acme: Live, client: Client) -> None:
    """Its end counts on, for the board, for who asks, and for the others, who do not do it again."""
    await acme.start(EAST)
    task = await client.start("engineers", "the last thing that it does here", room_s=20)
    assert (await client.wait(task, 30)).by == "eng-east"
    text = acme.org_file.read_text()
    acme.org_file.write_text(
        text.replace('id = "engineers"\nmembers = ["eng-east", "eng-west"]', 'id = "engineers"\nmembers = ["eng-west"]')
    )
    assert acme.org_file.read_text() != text
    now = Company.open(acme.org_file)
    assert now.org.may_take("engineers") == {"eng-west"}
    async with acme.owner() as bus:
        end = await now.ends(bus).read(task.id, task.requester, "engineers")
        assert end is not None
        assert (end.by, end.status) == ("eng-east", "done")
        views = await now.history(bus).tasks()
        assert [(one.task_id, one.state, one.ended_by) for one in views] == [(task.id, "done", "eng-east")]
        assert (await now.history(bus).task(task.id)).state == "done"
        assert await now.ends(bus).read(task.id, "amy", "engineers") is None  # who has not given it names nobody


async def test_g5_the_task_of_a_dead_replica_goes_to_another(acme: Live, client: Client) -> None:
    """A process is killed in the middle of a task: its lease runs out, the other takes it, and says that it is a repeat."""
    await acme.start(EAST)
    task = await client.start("engineers", "@die")
    await acme.died(EAST)
    await acme.start(WEST)
    result = await client.wait(task, 30)
    assert (result.status, result.by, result.text) == ("done", "eng-west", "@die (attempt 2)")
    assert await acme.ends(task.id) == 1


async def test_g5_a_task_that_kills_every_replica_is_dead_after_three(acme: Live, client: Client) -> None:
    """The strikes of one count for the next: a pool of ten does not lose thirty processes."""
    task = await client.start("engineers", "@die always")
    for name in (EAST, WEST, EAST):
        acme.launch(name)
        await acme.died(name)
    await acme.start(WEST)
    result = await client.wait(task, 40)
    assert (result.status, result.text) == ("dead", "3 attempts were started, and each was interrupted")


async def test_g5_a_finished_task_is_not_run_again_by_the_other(acme: Live, client: Client) -> None:
    """One dies between the end and the result: the other reads the end, and only brings the result home."""
    acme.launch_program(EAST, "--die-at", "ended")
    task = await client.start("engineers", "once")
    await acme.died(EAST)
    await acme.start(WEST)
    assert (await client.wait(task, 30)).by == "eng-east"
    await said(acme, task, "ended", "eng-west")
    await until(lambda: _gone(acme), "the ack of the task")
    found = await events(acme, task)
    assert [one.sender for one in found if one.kind in ("started", "retrying")] == ["eng-east"]
    assert await acme.ends(task.id) == 1


async def _gone(acme: Live) -> bool:
    async with acme.owner() as bus:
        return await bus.stored(TASKS, "acme.tasks.>") == []


async def test_g5_a_replica_that_comes_back_leaves_its_task_to_who_has_it_now(acme: Live, client: Client) -> None:
    """It was killed, another has the task: it neither runs it nor acknowledges it."""
    await acme.start(EAST)
    task = await client.start("engineers", "@hang")
    await said(acme, task, "started", "eng-east")
    acme.kill(EAST)
    await acme.start(WEST)
    await said(acme, task, "retrying", "eng-west")
    await acme.start(EAST)
    after = await client.start("engineers", "next", label="the slot of east is free")
    busy = [await client.start("engineers", "@sleep 1") for _ in range(4)]
    results = await client.wait_all([after, *busy], 30)
    assert "eng-east" in {one.by for one in results}
    found = await events(acme, task)
    assert [
        (one.kind, one.sender) for one in found if one.kind in ("started", "retrying", "interrupted", "resumed")
    ] == [
        ("started", "eng-east"),
        ("retrying", "eng-west"),
    ]
    assert (await client.look(task.id)).worker == "eng-west"
    assert not await _gone(acme)
    won, end = await client.cancel(task.id)
    assert (won, end.status, await acme.ends(task.id)) == (True, "cancelled", 1)
    await until(lambda: _gone(acme), "the ack by the one that had it")


async def test_g5_a_replica_that_is_stopped_hands_its_task_over_at_once(acme: Live, client: Client) -> None:
    """SIGTERM is no crash: no strike, and nobody waits for the lease of 5 seconds."""
    await acme.start(EAST)
    task = await client.start("engineers", "@sleep 5")
    await said(acme, task, "started", "eng-east")
    await acme.start(WEST)
    acme.kill(EAST, 15)
    begun = asyncio.get_running_loop().time()
    await said(acme, task, "started", "eng-west")
    assert asyncio.get_running_loop().time() - begun < 4
    result = await client.wait(task, 30)
    assert (result.by, result.text) == ("eng-west", "@sleep 5 (attempt 1)")


async def test_g5_an_idle_replica_is_not_starved_by_a_busy_one(acme: Live, client: Client) -> None:
    """East has one slot and is busy; what comes goes to west at once: nothing waits under east's lease."""
    await acme.start(EAST)
    long = await client.start("engineers", "@hang")
    await said(acme, long, "started", "eng-east")
    await acme.start(WEST)
    begun = asyncio.get_running_loop().time()
    results = await client.wait_all([await client.start("engineers", f"number {n}") for n in range(15)], 30)
    assert {one.by for one in results} == {"eng-west"}
    assert asyncio.get_running_loop().time() - begun < 4, "less than a lease"
    await client.cancel(long.id)


async def test_who_asked_does_not_do_it_himself(acme: Live, client: Client) -> None:
    """A member that gives a task to its own pool gets it done by another, also when it alone is there at first."""
    await acme.start(EAST)
    async with acme.company.connect("gw-east") as bus:
        task = make_task(acme.org, "eng-east", NewTask("engineers", "help me"))
        subject = acme.company.subjects.task("engineers", "medium", "eng-east")
        await bus.publish(subject, task.encode(), msg_id=task.id)
    marker = await client.start("engineers", "behind it")
    await client.wait(marker, 30)
    await acme.start(WEST)
    async with acme.owner() as bus:
        ends = acme.company.ends(bus)

        async def ended() -> str:
            end = await ends.read(task.task_id or "", "eng-east", "engineers")
            return end.by if end else ""

        assert await until(ended, "the end") == "eng-west"


async def test_of_several_members_in_one_gateway_the_least_busy_does_it(acme: Live, client: Client) -> None:
    """First by load, then by the order of the file."""
    await acme.start(DESK)
    first = await client.start("office", "@hang")
    await said(acme, first, "started", "amy")
    second = await client.start("office", "@hang")
    await said(acme, second, "started", "bob")
    third = await client.start("office", "quick")
    assert (await client.wait(third, 30)).by == "amy"
    for task in (first, second):
        assert (await client.cancel(task.id))[0]
    await until(lambda: _gone(acme), "both are stopped")


async def test_a_task_for_a_team_is_taken_by_one_and_announced_to_the_others(acme: Live, client: Client) -> None:
    """The team hears of it, with the task's id and label; the events say who took it; a pool hears nothing."""
    await acme.start(EAST, WEST)
    task = await client.start("field", "look at the mast", label="mast 12")
    result = await client.wait(task, 30)
    assert result.by in ("eng-east", "eng-west")
    quiet = await client.start("engineers", "no announcement")
    await client.wait(quiet, 30)
    async with acme.owner() as bus:
        (note,) = await bus.stored(BCAST, "acme.>")
    told = decode(note.data, "owner")
    assert (note.subject, told.parent, told.priority) == ("acme.team.field.owner", task.id, "low")
    assert task.id in told.body
    assert "mast 12" in told.body
    delivered = [one.sender for one in await events(acme, task) if one.kind == "delivered"]
    assert delivered == [result.by]
    assert (await client.look(task.id)).worker == result.by


async def test_an_own_critical_task_comes_first_however_many_groups_there_are(acme: Live, client: Client) -> None:
    """Own and groups' durables of one priority are asked before those of the next; no group is left out for ever."""
    for priority in ("low", "critical"):
        for to in ("amy", "office", "everyone"):
            for _ in range(3):
                await client.start(to, f"{to} {priority}", priority=priority)
    taken: list[str] = []
    async with (
        acme.company.connect("gw-desk") as bus,
        TaskConsumer(bus, "desk", acme.org.groups_of("desk")) as task_consumer,
    ):
        for _ in range(18):
            delivery = await asyncio.wait_for(task_consumer.next_task(), 10)
            taken.append(decode(delivery.data, "owner").body)
            await bus.ack(delivery.ack_subject)
    assert taken[0] == "amy critical"
    assert [one.split()[1] for one in taken[:7]] == ["critical"] * 7
    assert taken[7] in ("office low", "everyone low"), "every eighth from the bottom, groups first"
    assert Counter(taken) == Counter(dict.fromkeys(taken, 3))
