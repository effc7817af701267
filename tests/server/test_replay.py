"""`clawbus replay`, over a real nats-server: what a task, an agent or a span of time were, from the streams."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from clawbus.bus import Bus
from clawbus.cli.replay import line
from clawbus.client.person import Person
from clawbus.client.replay import TimelineEntry, chosen, moments
from clawbus.tasks import NewTask, make_task
from clawbus.wire.envelope import Envelope
from clawbus.wire.events import Event, Kind
from clawbus.wire.subjects import new_message_id, new_task_id
from tests.command import clawbus
from tests.company import Live


async def life(company: Live, text: str, parent: str | None = None) -> str:
    """A task as its parties tell of it: accepted, started, progress, an end."""
    async with company.owner() as owner, company.company.connect("gw-lab") as lab:
        task = make_task(company.org, "owner", NewTask("cto-athena", text, label=text))
        task = task.model_copy(update={"parent": parent})
        await Person(company.company, owner, "owner").give(task)
        task_id = task.task_id or ""
        await event(lab, "started", task_id, attempt=1)
        await event(lab, "progress", task_id, what="reading package.json")
        end = Envelope(id=new_message_id("cto-athena"), type="result", sender="cto-athena", to="owner",
                       task_id=task_id, status="done", body=f"done with {text}")  # fmt: skip
        await lab.publish(f"acme.end.{task_id}.cto-athena", end.encode(), msg_id=end.id)
    return task_id


async def event(bus: Bus, kind: Kind, task_id: str, **detail: Any) -> None:
    said = Event(id=new_message_id("cto-athena"), kind=kind, task_id=task_id, sender="cto-athena", detail=detail)
    await bus.publish(f"acme.events.{task_id}.cto-athena", said.encode(), msg_id=said.id)


async def replayed(company: Live, *options: str) -> str:
    """What the command prints."""
    run = await asyncio.to_thread(clawbus, "replay", "--org", str(company.org_file), *options)
    assert run.returncode == 0
    return run.stdout


async def test_a8_a_task_is_replayed_in_the_order_in_which_it_happened(bus_only: Live) -> None:
    """Accepted, started, progress, done, each with the server's time; what was passed on from it comes with it."""
    first = await life(bus_only, "the first")
    await life(bus_only, "another")
    child = await life(bus_only, "its child", parent=first)
    told = json.loads(await replayed(bus_only, "--task", first, "--json"))
    assert {one["task_id"] for one in told} == {first, child}
    assert json.loads(await replayed(bus_only, "--task", first[:8], "--json")) == told
    mine = [one for one in told if one["task_id"] == first]
    assert [one["what"] for one in mine] == ["accepted", "started", "progress", "done"]
    assert [one["at"] for one in mine] == sorted(one["at"] for one in mine)
    assert (mine[2]["text"], mine[3]["text"]) == ("reading package.json", "done with the first")


async def test_a8_an_agent_and_a_span_of_time_are_replayed(bus_only: Live) -> None:
    """Of an agent: what it did and what it was given. Since a moment: nothing that was before."""
    before = await life(bus_only, "before")
    moment = datetime.now(UTC).isoformat()
    after = await life(bus_only, "after")
    of_agent = json.loads(await replayed(bus_only, "--agent", "cto-athena", "--json"))
    since = json.loads(await replayed(bus_only, "--since", moment, "--json"))
    assert {one["task_id"] for one in of_agent} == {before, after}
    assert {one["task_id"] for one in since} == {after}
    assert json.loads(await replayed(bus_only, "--agent", "ceo-genesis", "--json")) == []


async def test_a8_a_person_can_read_it(bus_only: Live) -> None:
    """One line each: time, who to whom, what, the text."""
    task_id = await life(bus_only, "the plan")
    text = await replayed(bus_only, "--task", task_id)
    assert "owner -> cto-athena" in text
    assert "progress        reading package.json" in text
    assert text.rstrip().endswith("done with the plan")


async def test_broadcasts_and_alerts_are_part_of_it(bus_only: Live) -> None:
    """All of the streams that keep what was said."""
    async with bus_only.company.connect("steward") as bus:
        from clawbus.steward.context import Context

        await Context(bus_only.org, bus).alert("lag", "cto-athena", True, "9 tasks wait")
    async with bus_only.owner() as bus:
        said = Envelope(id=new_message_id("owner"), type="message", sender="owner", to="all",
                        task_id=new_task_id(), subject="Friday", body="no deploys")  # fmt: skip
        await bus.publish("acme.all.owner", said.encode(), msg_id=said.id)
        told = await moments(bus, bus_only.company)
    assert ("alert raised", "lag: 9 tasks wait") in {(one.what, one.text) for one in told}
    assert ("message", "all", "Friday: no deploys") in {(one.what, one.to, one.text) for one in told}


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_line_shows_others_text_inert(width: int) -> None:
    """What an agent wrote can neither colour nor move the terminal."""
    shown = line(TimelineEntry(datetime.now(UTC), "a", "done", text="\x1b[2J" + "x" * 500), False, width)
    assert "\x1b" not in shown
    assert all(len(row) <= width for row in shown.split("\n"))


def test_choosing_is_by_family_party_and_time() -> None:
    """A chained task belongs to its parent's; a task without a parent does not."""
    at = datetime.now(UTC)
    told = [TimelineEntry(at, "a", "accepted", "one", "b"), TimelineEntry(at, "s", "accepted", "two", "c", parent="one"),
            TimelineEntry(at, "x", "accepted", "three", "y")]  # fmt: skip
    assert [one.task_id for one in chosen(told, task="one")] == ["one", "two"]
    assert [one.task_id for one in chosen(told, agent="c")] == ["two"]
    told += [TimelineEntry(at, "a", "accepted", "four", "pool"), TimelineEntry(at, "d", "delivered", "four")]
    assert [one.what for one in chosen(told, agent="d")] == ["accepted", "delivered"]


async def test_a8_who_has_left_is_replayed_and_who_never_was_is_refused(bus_only: Live) -> None:
    task = await life(bus_only, "its last one")
    text = bus_only.org_file.read_text()
    bus_only.org_file.write_text(text.replace('id = "cto-athena"', 'id = "cto-next"'))
    said = json.loads(await replayed(bus_only, "--agent", "cto-athena", "--json"))
    assert {one["task_id"] for one in said} == {task}
    with pytest.raises(AssertionError):
        await replayed(bus_only, "--agent", "cto-nobody")
