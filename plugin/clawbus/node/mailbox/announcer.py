"""Waking the session that asked, with the result: once, and never lost. Tasks given together wake it together.

A result counts as announced when it stands in the session's transcript, and only then leaves the bus.
"""

from __future__ import annotations

import asyncio
import functools
import logging

from clawbus.errors import BusAway, GatewayAway, Refused
from clawbus.gateway import bus_session
from clawbus.node.ledger import Ledger, Sent
from clawbus.node.mailbox.attachments import Attachments
from clawbus.node.mailbox.inbox import Inbox
from clawbus.node.mailbox.outbox import Outbox
from clawbus.node.mailbox.session_delivery import Delivery, SessionDelivery, until_done
from clawbus.node.prompts import frames
from clawbus.node.signals import NodeSignals, Probe, no_probe
from clawbus.org import STEWARD, Org
from clawbus.wire.envelope import Envelope
from clawbus.wire.subjects import Subjects, new_message_id

log = logging.getLogger(__name__)
_GROUP_CHARS = 400_000
"""The size of one message with several results; each of them gets its share."""


class Announcer:
    """Brings results into sessions. `waiters` holds the tasks for which a `nats_request` stands waiting."""

    def __init__(
        self,
        session_delivery: SessionDelivery,
        ledger: Ledger,
        outbox: Outbox,
        inbox: Inbox,
        files: Attachments,
        org: Org,
        signals: NodeSignals,
        probe: Probe = no_probe,
    ) -> None:
        self._session_delivery = session_delivery
        self._ledger = ledger
        self._outbox = outbox
        self._inbox = inbox
        self._files = files
        self._subjects = Subjects(org.company)
        self._human = org.humans[0].id
        self._due: asyncio.Queue[str] = asyncio.Queue()
        self._busy: set[str] = set()
        self.waiters: dict[str, asyncio.Future[Envelope]] = {}
        self._probe = probe
        signals.result.connect(self.due)
        signals.ended.connect(self.due)

    def due(self, task_id: str) -> None:
        """A result is here: to the request that waits for it, else into its session; of a group, with the last one."""
        together = self._ledger.sent.together_with(task_id)
        if not together or any(sent.result is None for sent in together):
            return
        first, waiter = together[0], self.waiters.get(task_id)
        if first.result is not None and waiter is not None and not waiter.done():
            waiter.set_result(first.result)
        elif first.task_id not in self._busy:
            self._busy.add(first.task_id)
            self._due.put_nowait(first.task_id)

    async def run(self) -> None:
        """Announce what is due, until cancelled. Results of different sessions do not wait for each other."""
        for sent in self._ledger.sent.to_announce():
            self.due(sent.task_id)
        async with asyncio.TaskGroup() as group:
            while True:
                task_id = await self._due.get()
                group.create_task(self._bring(task_id), name=f"announce-{task_id}")

    async def answered(self, task_id: str) -> None:
        """A waiting `nats_request` has handed the result to its caller."""
        self._ledger.sent.settled(task_id, "answered")
        sent = self._ledger.sent.get(task_id)
        if sent is not None:
            self._outbox.event("announced", task_id, sent.task.sender, how="answered")
        await self._inbox.settle(task_id)

    async def _bring(self, task_id: str) -> None:
        try:
            await until_done(functools.partial(self._try, task_id), f"announcing task {task_id}")
        finally:
            self._busy.discard(task_id)

    async def _try(self, task_id: str) -> bool:
        """One try to bring results home. True when they are settled, one way or the other."""
        together = self._ledger.sent.together_with(task_id)
        open_ones = [sent for sent in together if sent.announce in ("due", "trying")]
        if not open_ones or any(sent.result is None for sent in together):
            return True
        sent = open_ones[0]
        try:
            results = [given.result for given in together if given.result is not None]
            delivery = self._delivery(together, open_ones, await self._files.of(sent.task.sender, *results))
            if await self._session_delivery.arrived(delivery) is None:
                if not await self._session_delivery.announcements.session_exists(sent.session_key):
                    return self._leave_in_inbox(open_ones)
                if await self._session_delivery.bring(delivery) is None:
                    return False
            return await self._announced([self._ledger.sent.get(given.task_id) or given for given in open_ones])
        except (GatewayAway, BusAway):
            return False
        except Refused as refusal:
            log.error("the session %s took no result: %s", sent.session_key, refusal)
            return self._leave_in_inbox(open_ones)

    def _delivery(self, together: list[Sent], open_ones: list[Sent], files: str) -> Delivery:
        """The delivery for the session. A cancelled task of a group is named in it, and not announced itself."""
        sent = open_ones[0]

        def record(keys: tuple[str, ...], boot_id: str) -> None:
            with self._ledger.together():
                for given in open_ones:
                    self._ledger.sent.trying(given.task_id, keys, boot_id)

        async def step(name: str) -> None:
            await self._probe(sent.task_id, name)

        return Delivery(
            sent.task.sender,
            sent.session_key,
            bus_session(_worker(sent), sent.task_id),
            sent.keys,
            sent.boot_id,
            lambda repeat: _text(together, repeat) + files,
            record,
            step,
        )

    async def _announced(self, open_ones: list[Sent]) -> bool:
        with self._ledger.together():
            for sent in open_ones:
                self._ledger.sent.settled(sent.task_id, "announced")
                self._outbox.event("announced", sent.task_id, sent.task.sender, repeats=sent.repeats)
        await self._probe(open_ones[0].task_id, "announced")
        for sent in open_ones:
            await self._inbox.settle(sent.task_id)
        return True

    def _leave_in_inbox(self, open_ones: list[Sent]) -> bool:
        """The session is gone: each result stays unread in the agent's inbox, and a person is told."""
        for sent in open_ones:
            self._ledger.sent.settled(sent.task_id, "inbox")
            self._inbox.unbind(sent.task_id)
            agent = sent.task.sender
            note = Envelope(
                id=new_message_id(agent),
                type="message",
                sender=agent,
                to=self._human,
                task_id=sent.task_id,
                subject="a result waits",
                body=f"The session {sent.session_key} that asked for task {sent.task_id} "
                f"is gone. The result waits in the inbox of {agent}: clawbus inbox {agent}",
            )
            self._outbox.later(self._subjects.dm(self._human, agent), note.id, note.encode())
        return True


def _text(together: list[Sent], repeat: int) -> str:
    replies = [(sent.result, sent.task.subject, sent.task.created_at) for sent in together if sent.result is not None]
    if len(together) == 1:
        return frames.result(*replies[0], repeat)
    room = _GROUP_CHARS // len(replies)
    fitting = [(_fitting(reply, room), label, at) for reply, label, at in replies]
    return frames.results(together[0].group_id or "", fitting, repeat)


def _fitting(reply: Envelope, room: int) -> Envelope:
    """A result that fits beside the others; a cut shows, with where the whole of it is."""
    if len(reply.body) <= room:
        return reply
    return reply.model_copy(
        update={"body": f"{reply.body[:room]}\n[cut here: nats_tasks, action status, shows the whole of it]"}
    )


def _worker(sent: Sent) -> str:
    """The agent that did a task: of a group the member that has answered."""
    by = sent.result.sender if sent.result is not None else ""
    return sent.task.to if by in ("", sent.task.sender, STEWARD) else by
