"""Agents without a gateway that give tasks on from within their own: what a node is put together of, a handler as model."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from clawbus.bus import TaskConsumer
from clawbus.client.program_executor import ProgramExecutor
from clawbus.client.values import Task
from clawbus.node.ledger import Ledger
from clawbus.node.mailbox import BudgetGate, Outbox
from clawbus.node.requester import Requester
from clawbus.node.signals import NodeSignals
from clawbus.node.worker import HaltableExecutor, MeteredExecutor, Slots, Worker
from clawbus.tasks import NewTask
from clawbus.tasks.ends import Ends
from clawbus.tasks.halt import Halt
from clawbus.wire.envelope import Envelope
from tests.company import Live

Mind = Callable[["Crew", str, Task], Awaitable[str]]
"""What an agent does with a task; it may give others in its turn, with `Crew.give`."""


def crew_toml(port: int, workers: int, head: str = "", more: str = "") -> str:
    """Agents `boss` and `w0`, `w1`… on one program gateway, and a person `owner`."""
    agents = "".join(f'[[agents]]\nid = "w{n}"\nreports_to = "boss"\ngateway = "shop"\n' for n in range(workers))
    return f"""
company = "acme"
bus.port = {port}
policies.lease_s = 10
{head}
[[gateways]]
id = "shop"
kind = "program"
slots = 8
[[agents]]
id = "boss"
role = "role-ceo"
gateway = "shop"
{agents}
{more}
[[humans]]
id = "owner"
"""


class Crew:
    """All agents of one program gateway."""

    def __init__(self, ledger: Ledger, outbox: Outbox, requester: Requester, unwell: set[str]) -> None:
        self.ledger, self.outbox, self.requester = ledger, outbox, requester
        self.unwell = unwell
        """The agents of which their node says that their turns fail before a model is asked."""
        self.begun: list[Task] = []

    async def give(self, agent: str, within: Task | None, to: str, text: str) -> Envelope:
        """As `nats_spawn` in the turn of a task, or in a chat. Raises what that would say."""
        session = f"agent:{agent}:nats:{within.id}" if within else f"agent:{agent}:main"
        task, _ = await self.requester.submit(agent, session, NewTask(to, text), "spawn")
        return task


@contextlib.asynccontextmanager
async def crew(company: Live, mind: Mind) -> AsyncIterator[Crew]:
    org, subjects = company.org, company.company.subjects
    with Ledger(company.home.ledger("shop")) as ledger:
        async with company.company.connect("gw-shop") as bus:
            outbox = Outbox(bus, ledger, subjects, BudgetGate(bus, org))
            ends = Ends(bus, subjects, org.may_end, org.may_take)
            unwell: set[str] = set()
            requester = Requester(org, ledger, outbox, ends, unwell.__contains__, NodeSignals())
            one = Crew(ledger, outbox, requester, unwell)

            def handler(agent: str) -> Callable[[Task], Awaitable[str]]:
                async def handle(task: Task) -> str:
                    one.begun.append(task)
                    return await mind(one, agent, task)

                return handle

            program = ProgramExecutor({agent.id: handler(agent.id) for agent in org.agents}, ledger, outbox, org)
            halt = Halt(bus, org)
            slots, consumer = Slots(org.gateway("shop").slots), TaskConsumer(bus, "shop", org.groups_of("shop"))
            metered = MeteredExecutor(program, ledger, outbox, subjects)
            executor = HaltableExecutor(metered, halt, lambda _: False, slots, consumer.clock, ledger, outbox)
            worker = Worker(bus, consumer, slots, executor, ledger, outbox, org, "shop")
            parts = (halt.run(), outbox.run(), worker.run(), worker.keep_leases(3))
            running = [asyncio.create_task(part) for part in parts]
            try:
                yield one
            finally:
                for part in running:
                    part.cancel()
                await asyncio.gather(*running, return_exceptions=True)
