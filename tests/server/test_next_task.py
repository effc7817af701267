"""The worker's loop on a real nats-server: the end of a task is an event, and starts the next one."""

from __future__ import annotations

from pathlib import Path

from clawbus import connect
from clawbus.wire.envelope import Priority
from clawbus.wire.events import Event
from tests.company import free_ports, live, until

TOML = """
company = "acme"
bus.port = {port}
[[gateways]]
id = "lab"
kind = "program"
slots = 1
[[agents]]
id = "cto"
gateway = "lab"
"""
ORDER: tuple[Priority, ...] = ("critical", "high", "medium", "low")


async def test_a6_the_end_of_a_task_is_an_event_and_starts_the_next(tmp_path: Path) -> None:
    """One slot, four tasks that wait: each begins when the one before it has ended, the most urgent first."""
    async with live(tmp_path, None, toml=TOML.format(port=free_ports(1)[0])) as company:
        async with connect(company.org_file) as client:
            given = {one: await client.start("cto", f"do {one}", priority=one) for one in reversed(ORDER)}
            await company.start("program-lab")
            await client.wait_all(given.values(), 30)

        async def all_said() -> list[Event] | None:
            async with company.owner() as bus:
                found = await company.company.history(bus).events()
            return found if sum(one.kind == "ended" for one in found) == len(ORDER) else None

        names = {task.id: name for name, task in given.items()}
        events = await until(all_said, "an event for each end")
        loop = [(event.kind, names[event.task_id]) for event in events if event.kind in ("started", "ended")]
        assert loop == [(kind, name) for name in ORDER for kind in ("started", "ended")]
