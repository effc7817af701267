"""One node, put together: its parts run side by side until it is stopped, and none of them outlives another."""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
from pathlib import Path

from clawbus.bus import Bus, Pull, gateway_reader
from clawbus.errors import ClawbusError
from clawbus.gateway import Begun, GatewayRpc, tokens_of, workspace_of
from clawbus.node.gateway_repair import Mending
from clawbus.node.heartbeat import Presence
from clawbus.node.ledger import Ledger, Outgoing
from clawbus.node.mailbox import (
    Announcer,
    Bringer,
    Broadcasts,
    Cuts,
    Files,
    Inbox,
    MailBounds,
    Outbox,
    Reader,
    Reserving,
    Waker,
)
from clawbus.node.requester import Requester
from clawbus.node.socket import listening
from clawbus.node.tools.attachments import Attaching
from clawbus.node.tools.call_gate import Gate
from clawbus.node.tools.dispatch import Tools
from clawbus.node.tools.spawn import GivingTools
from clawbus.node.tools.tasks import TasksTool
from clawbus.node.worker import Attempts, Lessons, Metered, Notifier, Obedient, Steering, Worker
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
        self.inbox, bringer = Inbox(bus, ledger, self.outbox), Bringer(rpc)
        self.halt, self.mending = Halt(bus, org), Mending(rpc, self.agents)
        bounds = MailBounds(org, Reserving(bus, org, self.outbox))
        self.reader = Reader(bus, ledger, org, self.agents, self.inbox, bounds)
        self.broadcasts = Broadcasts(bus, ledger, org, self.agents, bounds)
        store, workspace = Store(bus, subjects), functools.partial(workspace_of, rpc)
        files = Files(Shelf(store, workspace, ledger.folder / "files"), rpc)
        self.announcer = Announcer(bringer, ledger, self.outbox, self.inbox, files, org)
        self.waker = Waker(org, rpc, bringer, ledger, self.inbox, files)
        steering = Steering(rpc, ledger, self.outbox, ends, org)
        self.attempts = Attempts(rpc, self.mending.fitness, ledger, self.outbox, steering, files, org)
        turns = Metered(self.attempts, ledger, self.outbox, subjects, functools.partial(tokens_of, rpc))
        obedient = Obedient(turns, self.halt, ledger, self.outbox)
        self.worker = Worker(bus, obedient, ledger, self.outbox, org, gateway)
        obedient.on_wait, obedient.over = self.worker.give_slot, self.worker.over
        self.roster = Roster(subjects)
        self._requester = Requester(org, subjects, ledger, self.outbox, ends)
        attaching = Attaching(ledger, self.outbox, store, files, workspace)
        giving = GivingTools(org, self.announcer, self._requester, self.roster, attaching)
        following = TasksTool(ledger, self._requester, History(bus, org))
        self.tools = Tools(org, ledger, self.outbox, self.inbox, giving, following, self.roster, attaching)
        self.gate = Gate(org, ledger, rpc)
        self._presence = Presence(bus, rpc.ready, rpc.on_change, self.worker.load, self.roster, org, gateway)
        self._connect(steering, Notifier(rpc, self.outbox, org, gateway), Lessons(bus, org, gateway))
        self._obey(bringer, obedient)

    def _obey(self, bringer: Bringer, obedient: Obedient) -> None:
        """Whoever begins a turn, or sends, asks first whether people have stopped it."""
        halt = self.halt
        self._cuts = Cuts(self._rpc, bringer, self._ledger, halt, self.agents)
        self._rpc.may_begin = halt.check
        self.tools.order_of, self.gate.order_of, self._presence.word = halt.of, halt.of, halt.word
        halt.on_change += [self.waker.look, self._presence.speak]
        self._presence.on_asked = halt.look
        self._heed(bringer, obedient)

    def _heed(self, bringer: Bringer, obedient: Obedient) -> None:
        """For an agent whose turns fail before its model is asked nothing begins but a try now and then."""
        halt, fitness = self.halt, self.mending.fitness

        async def may_begin(agent: str) -> None:
            await halt.may_begin(agent)
            await fitness.admit(agent)
            await halt.may_begin(agent)

        bringer.may_begin = may_begin
        self.attempts.on_wait = self.worker.give_slot
        obedient.unfit = lambda agent: agent in fitness.barred([agent])
        self.waker.barred = lambda: halt.barred(self.agents) | fitness.barred(self.agents)
        self._presence.unwell = self.mending.of
        fitness.on_change += [self.waker.look, self._presence.speak]
        self._requester.breaker.unwell = lambda agent: self.roster.unwell(agent) is not None
        self.mending.on_change.append(self._presence.speak)

    def _connect(self, steering: Steering, notifier: Notifier, lessons: Lessons) -> None:
        """Who is told of what, and who is asked."""
        self.attempts.lessons = lessons.below
        self.attempts.blocked.on_wait = self.worker.give_slot
        self.worker.on_steer, self.worker.on_notify = steering.take, notifier.take
        self.outbox.on_refused.append(self._never_sent)
        self._rpc.listeners.append(Begun(self._ledger.begun))
        self.reader.on_result += [self._requester.breaker.heard, self.announcer.due]
        self.reader.on_mail.append(self.waker.look)
        self.broadcasts.on_mail.append(self.waker.look)
        self._requester.on_cancelled.append(self.announcer.due)

    async def run(self, socket: Path) -> None:
        """Until cancelled. Control is drained before the first task is taken."""
        self._ledger.leave(self.agents)
        control = Pull(self._bus, CTL, self._reader_name, self.worker.control)
        mail = Pull(self._bus, INBOX, self._reader_name, self.reader.handle)
        broadcasts = Pull(self._bus, BCAST, self._reader_name, self.broadcasts.handle)
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
                self.waker.run(),
                self.worker.run(),
                self.worker.keep_leases(self._lease_s / 3),
                self.inbox.keep_leases(self._lease_s / 3),
                self._presence.run(),
                self.mending.run(),
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
