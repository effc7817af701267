"""A company for the tests of the steward: three agents on three gateways, and hands that do their work without a gateway."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from clawbus.bus import Bus, Delivery, SignedCopy, fetch_now, task_durable
from clawbus.steward.alert_states import Alert, Alerts
from clawbus.steward.steward import Steward
from clawbus.tasks import NewTask, make_task
from clawbus.tasks.ends import End
from clawbus.wire.channels import EVENTS, INBOX, TASKS
from clawbus.wire.envelope import Envelope, Status, decode
from clawbus.wire.events import Event, accepted_detail, decode_event
from clawbus.wire.subjects import PRIORITIES, new_message_id
from tests import command
from tests.company import Live, free_ports, live, until

HQ, LAB, SEC = "gw-hq", "gw-lab", "gw-sec"


def office_toml(more: str = "", head: str = "") -> str:
    """CEO on hq, CTO on lab, Security on sec; `more` is appended, `head` stands before the tables."""
    ports = free_ports(4)
    return f"""
company = "acme"
model = "scripted"
bus.port = {ports[0]}
{head}
[[gateways]]
id = "hq"
port = {ports[1]}
[[gateways]]
id = "lab"
port = {ports[2]}
[[gateways]]
id = "sec"
port = {ports[3]}
[[agents]]
id = "ceo"
role = "role-ceo"
gateway = "hq"
[[agents]]
id = "cto"
role = "role-cto"
reports_to = "ceo"
gateway = "lab"
[[agents]]
id = "security"
role = "role-security"
reports_to = "cto"
gateway = "sec"
[[humans]]
id = "owner"
{more}
"""


@contextlib.asynccontextmanager
async def office(folder: Path, more: str = "", head: str = "") -> AsyncIterator[Live]:
    async with live(folder, None, toml=office_toml(more, head)) as company:
        yield company


@contextlib.asynccontextmanager
async def steward(company: Live) -> AsyncIterator[Steward]:
    """A steward at work while the block runs."""
    async with company.company.connect("steward") as bus:
        one = Steward(company.org, bus)
        running = asyncio.create_task(one.run())
        try:
            yield one
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def give(company: Live, new: NewTask, sender: str = "ceo", key: str = HQ, say: bool = True) -> Envelope:
    """A task of an agent, as its node would send it; without its event if `say` is false."""
    task = make_task(company.org, sender, new)
    async with company.company.connect(key) as bus:
        await bus.publish(company.company.subjects.task(task.to, task.priority, sender), task.encode(), msg_id=task.id)
    if say:
        await announce(company, task, key)
    return task


async def announce(company: Live, task: Envelope, key: str = HQ) -> None:
    """The event `accepted` of a task."""
    task_id = task.task_id or ""
    event = Event(
        id=f"{task.id}-accepted", kind="accepted", task_id=task_id, sender=task.sender, detail=accepted_detail(task)
    )
    async with company.company.connect(key) as bus:
        await bus.publish(company.company.subjects.event(task_id, task.sender), event.encode(), msg_id=event.id)


async def work(company: Live, answer: str = "done", status: Status = "done", key: str = LAB) -> Envelope:
    """Take the next task of a gateway, end it, and give it back. Returns the task."""
    async with company.company.connect(key) as bus:

        async def take() -> Delivery | None:  # no waiting request is left behind, which would swallow the next task
            for priority in PRIORITIES:
                if found := await fetch_now(bus, TASKS, task_durable(key.removeprefix("gw-"), priority), 1):
                    return found[0]
            return None

        delivery = await until(take, f"a task for {key}")
        task = decode(delivery.data, company.company.subjects.parse(delivery.subject).sender)
        await finish(company, bus, task, answer, status)
        await bus.ack(delivery.ack_subject)
    return task


async def finish(company: Live, bus: Bus, task: Envelope, answer: str, status: Status = "done") -> End:
    """Write the end of a task as its worker."""
    end = Envelope(
        id=new_message_id(task.to),
        type="result",
        sender=task.to,
        to=task.sender,
        task_id=task.task_id,
        status=status,
        body=answer,
    )
    _, written = await company.company.ends(bus).write(end, task.sender, task.to)
    return written


async def stored(company: Live, stream: str, pattern: str) -> list[Envelope]:
    """What a stream holds, as envelopes."""
    subjects = company.company.subjects
    async with company.owner() as bus:
        return [decode(one.data, subjects.parse(one.subject).sender) for one in await bus.stored(stream, pattern)]


def id_of(data: bytes) -> str:
    """The message id under which an envelope or event goes out: its own; of what is none, any."""
    try:
        return str(json.loads(data)["id"])
    except (ValueError, KeyError, TypeError):
        return new_message_id("odd")


async def as_signed(company: Live, task: Envelope) -> dict[str, str]:
    """A task that waits on the bus, as its sender has signed it: for a dead letter."""
    async with company.owner() as bus:
        found = await bus.stored(TASKS, company.company.subjects.task(task.to, task.priority, task.sender))
    return next(SignedCopy.of(one).as_json() for one in found if one.msg_id == task.id)


async def mail_of(company: Live, who: str = "owner", **fields: Any) -> Envelope:
    """The first message in an inbox that has these fields, as soon as it is there."""

    async def look() -> Envelope | None:
        found = await stored(company, INBOX, company.company.subjects.dm_for(who))
        return next((one for one in found if all(getattr(one, k) == v for k, v in fields.items())), None)

    return await until(look, f"mail for {who} with {fields}")


async def events_of(company: Live, task_id: str, kind: str) -> list[Event]:
    subjects = company.company.subjects
    async with company.owner() as bus:
        found = await bus.stored(EVENTS, subjects.events_of(task_id))
    events = [decode_event(one.data, subjects.parse(one.subject)) for one in found]
    return [event for event in events if event.kind == kind]


async def clawbus(company: Live, *args: str) -> tuple[int, Any]:
    """The command line with --json, in a thread beside this loop. Returns its exit code and what it printed."""
    run = await asyncio.to_thread(command.clawbus, *args, "--org", str(company.org_file), "--json")
    try:
        return run.returncode, json.loads(run.stdout) if run.stdout else run.stderr
    except ValueError:
        raise AssertionError(f"{args}: {run.stdout}\n{run.stderr}") from None


async def alert_of(company: Live, rule: str, key: str, raised: bool) -> Alert:
    """An alert, once it stands so."""

    async def look() -> Alert | None:
        async with company.owner() as bus:
            found = await Alerts(bus, company.company.subjects).all()
        return next((one for one in found if (one.rule, one.key, one.raised) == (rule, key, raised)), None)

    return await until(look, f"the alert {rule} {key}, {'raised' if raised else 'cleared'}")
