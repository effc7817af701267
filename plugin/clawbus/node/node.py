"""One node, put together: its parts run side by side until it is stopped, and none of them outlives another."""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
from pathlib import Path

from clawbus.bus import Bus, Consumer, gateway_reader
from clawbus.errors import ClawbusError
from clawbus.gateway import BusRuns, GatewayRpc, tokens_of, workspace_of
from clawbus.node.gateway_repair import GatewayRepair
from clawbus.node.heartbeat import Heartbeat
from clawbus.node.ledger import Ledger, Outgoing
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
)
from clawbus.node.requester import Requester
from clawbus.node.socket import listening
from clawbus.node.tools.attachments import FileTools
from clawbus.node.tools.call_gate import CallGate
from clawbus.node.tools.dispatch import Tools
from clawbus.node.tools.spawn import SpawnTools
from clawbus.node.tools.tasks import TasksTool
from clawbus.node.worker import (
    ChatNotifier,
    HaltableExecutor,
    Insights,
    MeteredExecutor,
    OpenClawExecutor,
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
from clawbus.wire.envelope import Envelope
from clawbus.wire.subjects import Subjects, new_message_id

log = logging.getLogger(__name__)
_EXPIRY_CHECK_S = 60.0
_PRUNE_EVERY = 24 * 60  # checks


class Node:
    """The presence of one gateway on the bus."""

    def __init__(self, org: Org, gateway: str, bus: Bus, rpc: GatewayRpc, ledger: Ledger) -> None:
        self.agents = frozenset(agent.id for agent in org.agents_of(gateway))
        self._bus, self._rpc, self._ledger = bus, rpc, ledger
        self._lease_s, self._reader_name = org.policies.lease_s, gateway_reader(gateway)
        subjects = Subjects(org.company)
        ends, self.outbox = Ends(bus, subjects, org.may_end, org.may_take), Outbox(bus, ledger, subjects)
        self.inbox, session_delivery = Inbox(bus, ledger, self.outbox), SessionDelivery(rpc)
        self.halt, self.gateway_repair = Halt(bus, org), GatewayRepair(rpc, self.agents)
        bounds = MailBounds(org, BudgetGate(bus, org, self.outbox))
        self.reader = MailHandler(bus, ledger, org, self.agents, self.inbox, bounds)
        self.broadcasts = BroadcastHandler(bus, ledger, org, self.agents, bounds)
        store, workspace = Store(bus, subjects), functools.partial(workspace_of, rpc)
        files = Attachments(Shelf(store, workspace, ledger.folder / "files"), rpc)
        self.announcer = Announcer(session_delivery, ledger, self.outbox, self.inbox, files, org)
        self.mail_turns = MailTurns(org, rpc, session_delivery, ledger, self.inbox, files)
        steering = Steering(rpc, ledger, self.outbox, ends, org)
        self.attempts = OpenClawExecutor(rpc, self.gateway_repair.fitness, ledger, self.outbox, steering, files, org)
        turns = MeteredExecutor(self.attempts, ledger, self.outbox, subjects, functools.partial(tokens_of, rpc))
        haltable_executor = HaltableExecutor(turns, self.halt, ledger, self.outbox)
        self.worker = Worker(bus, haltable_executor, ledger, self.outbox, org, gateway)
        haltable_executor.on_wait, haltable_executor.has_passed = self.worker.give_slot, self.worker.has_passed
        self.roster = Roster(subjects)
        self._requester = Requester(org, subjects, ledger, self.outbox, ends)
        file_tools = FileTools(ledger, self.outbox, store, files, workspace)
        spawn_tools = SpawnTools(org, self.announcer, self._requester, self.roster, file_tools)
        following = TasksTool(ledger, self._requester, History(bus, org))
        self.tools = Tools(org, ledger, self.outbox, self.inbox, spawn_tools, following, self.roster, file_tools)
        self.gate = CallGate(org, ledger, rpc)
        self._presence = Heartbeat(bus, rpc.ready, rpc.on_change, self.worker.load, self.roster, org, gateway)
        self._connect(steering, ChatNotifier(rpc, self.outbox, org, gateway), Insights(bus, org, gateway))
        self._obey(session_delivery, haltable_executor)

    def _obey(self, session_delivery: SessionDelivery, haltable_executor: HaltableExecutor) -> None:
        """Whoever begins a turn, or sends, asks first whether people have stopped it."""
        halt = self.halt
        self._cuts = HaltedSessions(self._rpc, session_delivery, self._ledger, halt, self.agents)
        self._rpc.may_begin = halt.check
        self.tools.order_of, self.gate.order_of, self._presence.word = halt.of, halt.of, halt.word
        halt.on_change += [self.mail_turns.look, self._presence.speak]
        self._presence.on_asked = halt.look
        self._heed(session_delivery, haltable_executor)

    def _heed(self, session_delivery: SessionDelivery, haltable_executor: HaltableExecutor) -> None:
        """For an agent whose turns fail before its model is asked nothing begins but a try now and then."""
        halt, fitness = self.halt, self.gateway_repair.fitness

        async def may_begin(agent: str) -> None:
            await halt.may_begin(agent)
            await fitness.admit(agent)
            await halt.may_begin(agent)

        session_delivery.may_begin = may_begin
        self.attempts.on_wait = self.worker.give_slot
        haltable_executor.unfit = lambda agent: agent in fitness.barred([agent])
        self.mail_turns.barred = lambda: halt.barred(self.agents) | fitness.barred(self.agents)
        self._presence.unwell = self.gateway_repair.of
        fitness.on_change += [self.mail_turns.look, self._presence.speak]
        self._requester.breaker.unwell = lambda agent: self.roster.unwell(agent) is not None
        self.gateway_repair.on_change.append(self._presence.speak)

    def _connect(self, steering: Steering, notifier: ChatNotifier, insights: Insights) -> None:
        """Who is told of what, and who is asked."""
        self.attempts.insights = insights.below
        self.attempts.blocked.on_wait = self.worker.give_slot
        self.worker.on_steer, self.worker.on_notify = steering.take, notifier.take
        self.outbox.on_refused.append(self._never_sent)
        self._rpc.listeners.append(BusRuns(self._ledger.begun))
        self.reader.on_result += [self._requester.breaker.on_result, self.announcer.due]
        self.reader.on_mail.append(self.mail_turns.look)
        self.broadcasts.on_mail.append(self.mail_turns.look)
        self._requester.on_cancelled.append(self.announcer.due)

    async def run(self, socket: Path) -> None:
        """Until cancelled. Control is drained before the first task is taken."""
        self._ledger.leave(self.agents)
        control = Consumer(self._bus, CTL, self._reader_name, self.worker.control)
        mail = Consumer(self._bus, INBOX, self._reader_name, self.reader.handle)
        broadcasts = Consumer(self._bus, BCAST, self._reader_name, self.broadcasts.handle)
        async with (
            listening(socket, self.agents, self.tools.call, self.gate.may),
            self._rpc.running(),
            asyncio.TaskGroup() as group,
        ):
            await control.catch_up()
            await self.reader.recover()
            for part in (
                self.halt.run(),
                self._cuts.run(),
                control.run(),
                mail.run(),
                broadcasts.run(),
                self.outbox.run(),
                self.announcer.run(),
                self.mail_turns.run(),
                self.worker.run(),
                self.worker.keep_leases(self._lease_s / 3),
                self.inbox.keep_leases(self._lease_s / 3),
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
                        self.announcer.due(sent.task_id)
                    except ClawbusError as error:
                        log.info("expiry of task %s waits: %s", sent.task_id, error.message)
            if minute % _PRUNE_EVERY == 0:
                self._ledger.prune()
            await asyncio.sleep(_EXPIRY_CHECK_S)

    def _never_sent(self, out: Outgoing, error: ClawbusError) -> None:
        """A task that had waited here for the bus, and that the server then refused: its session hears of it."""
        task = Envelope.model_validate_json(out.data) if b'"type":"task"' in out.data else None
        if task is None or task.task_id is None:
            return
        result = Envelope(
            id=new_message_id(task.sender),
            type="result",
            sender=task.sender,
            to=task.sender,
            task_id=task.task_id,
            status="failed",
            subject=task.subject,
            body=f"the task was never sent: {error.message}",
        )
        if self._ledger.sent.took_result(task.task_id, result):
            self.announcer.due(task.task_id)
