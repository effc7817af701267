"""What a lost connection must not cost: what is handed out afterwards comes to whom it is for, at once."""

from __future__ import annotations

import asyncio

from clawbus.bus import Bus, Consumer, Delivery, TaskConsumer, gateway_reader, task_durable
from clawbus.client.client import connect
from clawbus.wire.channels import INBOX, TASKS
from tests.company import Live, until

WAITING = ((TASKS, task_durable("lab", "medium")), (INBOX, gateway_reader("lab")))
SOON_S = 5.0  # half of the shortest lease: what was handed to nobody would come again after that


async def parked(bus: Bus) -> None:
    """Wait until the server holds the requests for what is to come."""

    async def look() -> bool:
        asked = [await bus.api(f"CONSUMER.INFO.{stream}.{durable}") for stream, durable in WAITING]
        return all(info["num_waiting"] for info in asked)

    await until(look, "requests that wait at the server")


async def test_what_is_given_right_after_a_reconnect_is_taken_at_once(bus_only: Live) -> None:
    """Requests of the lost connection lie at the server still; neither a task nor mail must go to one of those."""
    mail: asyncio.Queue[Delivery] = asyncio.Queue()
    async with (
        bus_only.company.connect("gw-lab") as bus,
        TaskConsumer(bus, "lab") as task_consumer,
        connect(bus_only.org_file) as owner,
    ):

        async def read(delivery: Delivery) -> None:
            await bus.ack(delivery.ack_subject)
            mail.put_nowait(delivery)

        reading = asyncio.create_task(Consumer(bus, INBOX, gateway_reader("lab"), read).run())
        taking = asyncio.create_task(task_consumer.next_task())
        try:
            for number in range(3):
                await parked(bus)
                back = asyncio.Event()
                bus.on_reconnect.append(back.set)
                await bus.reconnect()
                await back.wait()
                task = await owner.start("cto-athena", f"task {number}")
                await owner.send("cto-athena", f"letter {number}")
                delivery = await asyncio.wait_for(taking, SOON_S)
                assert task.id.encode() in delivery.data
                await bus.ack(delivery.ack_subject)
                assert f"letter {number}".encode() in (await asyncio.wait_for(mail.get(), SOON_S)).data
                taking = asyncio.create_task(task_consumer.next_task())
        finally:
            for work in (reading, taking):
                work.cancel()
            await asyncio.gather(reading, taking, return_exceptions=True)
