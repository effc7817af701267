"""One node, put together: its parts run side by side until it is stopped, and none of them outlives another."""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
from pathlib import Path

from clawbus.bus import Bus, Consumer, TaskConsumer, gateway_reader
from clawbus.errors import ClawbusError
from clawbus.gateway import BusRuns, GatewayRpc, tokens_of, workspace_of
from clawbus.node.gateway_repair import GatewayRepair, Restart
from clawbus.node.heartbeat import Heartbeat
from clawbus.node.ledger import Ledger
from clawbus.node.mailbox import (
    Announcer,
    Attachments,
    BroadcastHandler,
    BudgetGate,
    HaltedSessions,
    Inbox,
    MailBounds,
    MailHandler,
    MailTurns,
    Outbox,
    SessionDelivery,
    TurnPermit,
)
from clawbus.node.requester import Requester
from clawbus.node.signals import NodeSignals, Probe, no_probe
from clawbus.node.socket import listening
from clawbus.node.tools.call_gate import CallGate
from clawbus.node.tools.dispatch import Tools
from clawbus.node.tools.file_tools import FileTools
from clawbus.node.tools.spawn import SpawnTools
from clawbus.node.tools.tasks import TasksTool
from clawbus.node.worker import (
    ChatNotifier,
    ControlHandler,
    HaltableExecutor,
    Insights,
    MeteredExecutor,
    OpenClawExecutor,
    Slots,
    Steering,
    Worker,
)
from clawbus.org import Org
from clawbus.tasks import History
from clawbus.tasks.artifacts import Shelf, Store
from clawbus.tasks.ends import Ends
from clawbus.tasks.halt import Halt
from clawbus.tasks.roster import Roster
from clawbus.wire.channels import BCAST, CTL, INBOX
from clawbus.wire.subjects import Subjects

log = logging.getLogger(__name__)
_EXPIRY_CHECK_S = 60.0
_PRUNE_EVERY = 24 * 60  # checks


class Node:
    """The presence of one gateway on the bus.

    `rpc` begins turns only as `halt` allows. `restart` has the gateway restarted; None if others run it. Tests give a
    `probe`.
    """

    def __init__(
        self,
        org: Org,
        gateway: str,
        bus: Bus,
        rpc: GatewayRpc,
        ledger: Ledger,
        halt: Halt,
        restart: Restart | None = None,
        probe: Probe = no_probe,
    ) -> None:
        self.agents = frozenset(agent.id for agent in org.agents_of(gateway))
        self._org, self._gateway, self._bus, self._rpc, self._ledger = org, gateway, bus, rpc, ledger
        self.halt, self._probe = halt, probe
        self._subjects, self._signals = Subjects(org.company), NodeSignals()
        self._ends, self.roster = Ends(bus, self._subjects, org.may_end, org.may_take), Roster(self._subjects)
        self.gateway_repair = GatewayRepair(rpc, self.agents, restart)
        self._fitness = self.gateway_repair.fitness
        budget_gate = BudgetGate(bus, org)
        self.outbox = Outbox(bus, ledger, self._subjects, budget_gate)
        self.inbox = Inbox(bus, ledger, self.outbox)
        self._requester = Requester(org, ledger, self.outbox, self._ends, self._is_unwell, self._signals)
        self._build_mailbox(MailBounds(org, budget_gate, self.outbox))
        self._build_worker()
        self._build_tools()
        self._presence = Heartbeat(bus, rpc, self.worker.load, self.gateway_repair.of, halt, self.roster, org, gateway)
        self._fitness.on_change.append(self._presence.speak)
        self.gateway_repair.on_change.append(self._presence.speak)
        rpc.listeners.append(BusRuns(ledger.begun))

    def _build_mailbox(self, bounds: MailBounds) -> None:
        """The parts that bring mail and results into sessions."""
        bus, rpc, ledger, org, signals = self._bus, self._rpc, self._ledger, self._org, self._signals
        permit = TurnPermit(self.halt, self._fitness, self.agents)
        delivery = SessionDelivery(rpc, permit)
        self._store = Store(bus, self._subjects)
        self._workspace = functools.partial(workspace_of, rpc)
        files = self._files = Attachments(Shelf(self._store, self._workspace, ledger.folder / "files"), rpc)
        self.reader = MailHandler(bus, ledger, org, self.agents, self.inbox, bounds, signals)
        self.broadcasts = BroadcastHandler(bus, ledger, org, self.agents, bounds, signals)
        self.announcer = Announcer(delivery, ledger, self.outbox, self.inbox, files, org, signals, self._probe)
        self.mail_turns = MailTurns(org, rpc, delivery, ledger, self.inbox, files, signals, self._probe)
        self._halted_sessions = HaltedSessions(rpc, delivery, ledger, self.halt, self.agents)

    def _build_worker(self) -> None:
        """The parts that do tasks."""
        bus, rpc, ledger, org, gateway = self._bus, self._rpc, self._ledger, self._org, self._gateway
        slots, task_consumer = Slots(org.gateway(gateway).slots), TaskConsumer(bus, gateway, org.groups_of(gateway))
        steering = Steering(rpc, ledger, self.outbox, self._ends, org)
        insights = Insights(bus, org, gateway)
        turns = OpenClawExecutor(
            rpc,
            self._fitness,
            ledger,
            self.outbox,
            steering,
            self._files,
            org,
            insights=insights,
            slots=slots,
            probe=self._probe,
        )
        metered = MeteredExecutor(turns, ledger, self.outbox, self._subjects, functools.partial(tokens_of, rpc))
        executor = HaltableExecutor(metered, self.halt, self._is_unfit, slots, task_consumer.clock, ledger, self.outbox)
        self.worker = Worker(bus, task_consumer, slots, executor, ledger, self.outbox, org, gateway, probe=self._probe)
        notifier = ChatNotifier(rpc, self.outbox, org, gateway)
        self.control = ControlHandler(bus, org, ledger, self.worker, steering.take, notifier.take)

    def _build_tools(self) -> None:
        """The parts that answer the shim."""
        org, ledger, order_of = self._org, self._ledger, self.halt.of
        file_tools = FileTools(ledger, self.outbox, self._store, self._files, self._workspace)
        spawn_tools = SpawnTools(org, self.announcer, self._requester, self.roster, file_tools)
        tasks_tool = TasksTool(ledger, self._requester, History(self._bus, org))
        self.tools = Tools(
            org, ledger, self.outbox, self.inbox, spawn_tools, tasks_tool, self.roster, file_tools, order_of=order_of
        )
        self.gate = CallGate(org, ledger, self._rpc, order_of)

    def _is_unfit(self, agent: str) -> bool:
        """True while nothing may be tried for an agent here."""
        return agent in self._fitness.barred([agent])

    def _is_unwell(self, agent: str) -> bool:
        """True if an agent's node, this one or another, says that its turns fail before a model is asked."""
        return self.roster.unwell(agent) is not None

    async def run(self, socket: Path) -> None:
        """Until cancelled. Control is drained before the first task is taken."""
        self._ledger.leave(self.agents)
        reader, lease_s = gateway_reader(self._gateway), self._org.policies.lease_s
        control = Consumer(self._bus, CTL, reader, self.control.handle)
        mail = Consumer(self._bus, INBOX, reader, self.reader.handle)
        broadcasts = Consumer(self._bus, BCAST, reader, self.broadcasts.handle)
        async with (
            listening(socket, self.agents, self.tools.call, self.gate.may),
            self._rpc.running(),
            asyncio.TaskGroup() as group,
        ):
            await control.catch_up()
            await self.reader.recover()
            for part in (
                self.halt.run(),
                self._halted_sessions.run(),
                control.run(),
                mail.run(),
                broadcasts.run(),
                self.outbox.run(),
                self.announcer.run(),
                self.mail_turns.run(),
                self.worker.run(),
                self.worker.keep_leases(lease_s / 3),
                self.inbox.keep_leases(lease_s / 3),
                self._presence.run(),
                self.gateway_repair.run(),
                self._expire(),
            ):
                group.create_task(part)

    async def _expire(self) -> None:
        """End what nobody has taken in time, before the stream's age limit would drop it in silence; and tidy up."""
        for minute in itertools.count(1):
            for agent in self.agents:
                for sent in self._ledger.sent.expired(agent):
                    try:
                        await self._requester.expire(sent)
                    except ClawbusError as error:
                        log.info("expiry of task %s waits: %s", sent.task_id, error.message)
            if minute % _PRUNE_EVERY == 0:
                self._ledger.prune()
            await asyncio.sleep(_EXPIRY_CHECK_S)
