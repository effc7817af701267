"""Tasks of agents in a Python program: `serve` is to the program as a node is to an OpenClaw gateway."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from clawbus.bus import Bus, Consumer, TaskConsumer, gateway_reader
from clawbus.client.company import Company
from clawbus.client.program_executor import Handler, ProgramExecutor
from clawbus.errors import InvalidInput, Missing
from clawbus.file_lock import locked
from clawbus.node.heartbeat import Heartbeat
from clawbus.node.ledger import Ledger
from clawbus.node.mailbox import BudgetGate, Outbox
from clawbus.node.worker import ControlHandler, HaltableExecutor, MeteredExecutor, Slots, Worker, deaf
from clawbus.tasks.halt import Halt
from clawbus.tasks.roster import Roster
from clawbus.wire.channels import CTL


async def serve(org_file: str | Path, gateway: str, handlers: Mapping[str, Handler]) -> None:
    """Do the tasks of a gateway of `kind = "program"` until cancelled, or until SIGTERM or SIGINT in the main thread.

    `handlers`: for each agent of that gateway an `async def handler(task: Task) -> str`; what it returns is the result.
    What it raises is the reason for which the task has failed. As many run at once as the gateway has `slots`. The
    guarantees are a node's: a finished task is never run again; what a crash cut short is run again, `policies.strikes`
    times at most; what was running when it was stopped goes on with the next start, or with another of its pool.
    Raises InvalidInput (handlers and agents differ), NotFound, Missing (it is served already), Refused (unknown key).
    """
    company = Company.open(Path(org_file))
    _check(company, gateway, handlers)
    with _alone(company, gateway), Ledger(company.home.ledger(gateway)) as ledger:
        ledger.prune()
        async with company.connect(f"gw-{gateway}", f"program {gateway}", wait_s=None) as bus:
            with _stopped_by_signals():
                await _run(company, gateway, handlers, bus, ledger)


async def _run(company: Company, gateway: str, handlers: Mapping[str, Handler], bus: Bus, ledger: Ledger) -> None:
    org, halt = company.org, Halt(bus, company.org)
    outbox = Outbox(bus, ledger, company.subjects, BudgetGate(bus, org))
    program = ProgramExecutor(handlers, ledger, outbox, org)
    slots, task_consumer = Slots(org.gateway(gateway).slots), TaskConsumer(bus, gateway, org.groups_of(gateway))
    metered = MeteredExecutor(program, ledger, outbox, company.subjects)
    # a program asks no model through a gateway: none of its agents is ever unfit
    haltable = HaltableExecutor(metered, halt, lambda _: False, slots, task_consumer.clock, ledger, outbox)
    worker = Worker(bus, task_consumer, slots, haltable, ledger, outbox, org, gateway)
    control_handler = ControlHandler(bus, org, ledger, worker, deaf(outbox), None)
    control = Consumer(bus, CTL, gateway_reader(gateway), control_handler.handle)
    presence = Heartbeat(bus, program, worker.load, lambda _: None, halt, Roster(company.subjects), org, gateway)
    try:
        await control.catch_up()
        async with asyncio.TaskGroup() as group:
            for part in (
                halt.run(),
                control.run(),
                outbox.run(),
                worker.run(),
                worker.keep_leases(org.policies.lease_s / 3),
                presence.run(),
            ):
                group.create_task(part)
    finally:
        await worker.give_back()


def _check(company: Company, gateway: str, handlers: Mapping[str, Handler]) -> None:
    entry = company.org.gateway(gateway)
    if not entry.is_program:
        raise InvalidInput("gateway", gateway, "an OpenClaw gateway", 'Give it kind = "program" in org.toml.')
    agents = {agent.id for agent in company.org.agents_of(gateway)}
    if agents != set(handlers):
        remedy = f"org.toml puts these agents there: {', '.join(sorted(agents)) or 'none'}. Each needs a handler."
        raise InvalidInput("handlers", ", ".join(sorted(handlers)), f"not the agents of {gateway}", remedy)


@contextlib.contextmanager
def _alone(company: Company, gateway: str) -> Iterator[None]:
    """One process per gateway: two with one ledger would do each task twice. The lock dies with its process."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(company.home.dir("nodes", gateway) / "lock"))
        except BlockingIOError:
            raise Missing(
                f"another process serves {gateway} already",
                "Stop it first; for several at once give each a gateway of its own, and their agents a pool.",
            ) from None
        yield


_serving: dict[asyncio.Task[object], bool] = {}  # each `serve` of this process, and whether a signal has stopped it


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """SIGTERM and SIGINT end every `serve` of this process as its cancellation would, but quietly."""
    me = asyncio.current_task()
    if me is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    _serving[me] = False
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, _stop_all)
    try:
        yield
    except asyncio.CancelledError:
        if not _serving[me]:
            raise
        me.uncancel()
    finally:
        del _serving[me]
        for signum in () if _serving else (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(signum)


def _stop_all() -> None:
    for task in _serving:
        _serving[task] = True
        task.cancel()
