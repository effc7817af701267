"""One node, put together: its parts run side by side until it is stopped, and none of them outlives another."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from clawbus.bus import CTL, INBOX, Bus, Ends, Pull, gateway_reader
from clawbus.envelope import Envelope
from clawbus.errors import BusAway, ClawbusError
from clawbus.gateway import GatewayRpc
from clawbus.ledger import Ledger, Outgoing
from clawbus.mailbox import Announcer, Outbox, Reader
from clawbus.node.presence import Presence
from clawbus.node.socket import listening
from clawbus.org import STEWARD, Org
from clawbus.subjects import Subjects, new_message_id
from clawbus.tasks import History, Requester
from clawbus.tools.handlers import Tools
from clawbus.tools.roster import Roster
from clawbus.worker import Worker

log = logging.getLogger(__name__)
_EXPIRY_CHECK_S = 60.0


class Node:
    """The presence of one gateway on the bus."""

    def __init__(self, org: Org, gateway: str, bus: Bus, rpc: GatewayRpc, ledger: Ledger) -> None:
        slots = org.gateway(gateway).slots
        self.agents = frozenset(agent.id for agent in org.agents_of(gateway))
        self._bus, self._rpc, self._ledger = bus, rpc, ledger
        self._lease_s = org.policies.lease_s
        self._reader_name = gateway_reader(gateway)
        subjects = Subjects(org.company)
        may_end = org.people | {STEWARD}
        ends = Ends(bus, subjects, may_end)
        self.outbox = Outbox(bus, ledger, subjects)
        self.reader = Reader(bus, ledger, subjects, self.agents)
        self.announcer = Announcer(rpc, ledger, self.outbox, self.reader, subjects, org.humans[0].id)
        self.worker = Worker(bus, rpc, ledger, self.outbox, ends, subjects, gateway, slots)
        self.roster = Roster(subjects)
        self._requester = Requester(org, subjects, ledger, self.outbox, ends)
        self.tools = Tools(
            org,
            ledger,
            self.outbox,
            self.reader,
            self.announcer,
            self._requester,
            History(bus, subjects, may_end),
            self.roster,
        )
        self._presence = Presence(bus, rpc, self.worker, self.roster, subjects, gateway, self.agents)
        self.outbox.on_refused.append(self._never_sent)

    async def run(self, socket: Path) -> None:
        """Until cancelled. Control is drained before the first task is taken."""
        control = Pull(self._bus, CTL, self._reader_name, self.worker.control)
        mail = Pull(self._bus, INBOX, self._reader_name, self.reader.handle)
        async with (
            listening(socket, self.agents, self.tools.call),
            self._rpc.running(),
            asyncio.TaskGroup() as group,
        ):
            await _patiently(control)
            await self.reader.recover()
            for part in (
                control.run(),
                mail.run(),
                self.outbox.run(),
                self.announcer.run(),
                self.worker.run(),
                self.worker.keep_leases(self._lease_s / 3),
                self.reader.keep_leases(self._lease_s / 3),
                self._presence.run(),
                self._expire(),
            ):
                group.create_task(part)

    async def _expire(self) -> None:
        """End what nobody has taken in time, before the stream's age limit would drop it in silence."""
        while True:
            for agent in self.agents:
                for sent in self._ledger.sent.expired(agent):
                    try:
                        await self._requester.expire(sent)
                        self.announcer.due(sent.task_id)
                    except ClawbusError as error:
                        log.info("expiry of task %s waits: %s", sent.task_id, error.message)
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


async def _patiently(control: Pull) -> None:
    while True:
        try:
            await control.drain()
        except BusAway:
            await asyncio.sleep(0.5)
        else:
            return
