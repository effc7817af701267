"""Waking the session that asked, with the result: once, and never lost.

The gateway's "accepted" is a promise in its memory only: a message that was queued behind a busy turn is gone after a
`kill -9`. So a result counts as announced when it stands in the session's transcript, and only then leaves the bus.
After a crash of this node or of the gateway the transcript is asked first; if it has none of our tries, the announce
is made again under a new key, and says that it may be a repeat.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable

from clawbus import frames
from clawbus.envelope import Envelope
from clawbus.errors import GatewayAway, Refused
from clawbus.gateway import KEY_PREFIX, GatewayRpc, Waking
from clawbus.ledger import Ledger, Sent
from clawbus.mailbox.outbox import Outbox
from clawbus.mailbox.reader import Reader
from clawbus.subjects import Subjects, new_message_id

log = logging.getLogger(__name__)
_AGAIN_S = 1.0
_LONGEST_S = 30.0


class Announcer:
    """Brings results into sessions. `waiters` holds the tasks for which a `nats_request` stands waiting."""

    def __init__(
        self, rpc: GatewayRpc, ledger: Ledger, outbox: Outbox, reader: Reader, subjects: Subjects, human: str
    ) -> None:
        self._rpc = rpc
        self._waking = Waking(rpc)
        self._ledger = ledger
        self._outbox = outbox
        self._reader = reader
        self._subjects = subjects
        self._human = human
        self._due: asyncio.Queue[str] = asyncio.Queue()
        self._busy: set[str] = set()
        self.waiters: dict[str, asyncio.Future[Envelope]] = {}
        self.on_step: Callable[[str, str], Awaitable[None]] | None = None
        reader.on_result.append(self.due)

    def due(self, task_id: str) -> None:
        """A result is here: to the request that waits for it, else into its session."""
        sent = self._ledger.sent.get(task_id)
        waiter = self.waiters.get(task_id)
        if sent is not None and sent.result is not None and waiter is not None and not waiter.done():
            waiter.set_result(sent.result)
        elif task_id not in self._busy:
            self._busy.add(task_id)
            self._due.put_nowait(task_id)

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
        await self._reader.settle(task_id)

    async def _bring(self, task_id: str) -> None:
        pause_s = _AGAIN_S
        try:
            while not await self._try_safely(task_id):
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_S)
        finally:
            self._busy.discard(task_id)

    async def _try_safely(self, task_id: str) -> bool:
        try:
            return await self._try(task_id)
        except Exception:
            log.exception("announcing task %s failed; it is tried again", task_id)
            return False

    async def _try(self, task_id: str) -> bool:
        """One try to bring a result home. True when it is settled, one way or the other."""
        sent = self._ledger.sent.get(task_id)
        if sent is None or sent.result is None or sent.announce not in ("due", "trying"):
            return True
        try:
            await self._rpc.ready.wait()
            if sent.keys and await self._waking.arrived(sent.session_key, sent.keys):
                return await self._announced(sent)
            if not await self._waking.session_exists(sent.session_key):
                return await self._leave_in_inbox(sent)
            return await self._announce(sent)
        except GatewayAway:
            return False
        except Refused as refusal:
            log.error("the session %s took no result: %s", sent.session_key, refusal)
            return await self._leave_in_inbox(sent)

    async def _announce(self, sent: Sent) -> bool:
        boot_id = self._rpc.boot_id
        same_process = bool(sent.keys) and sent.boot_id == boot_id  # the same key joins what it has started there
        keys = sent.keys if same_process else (*sent.keys, f"{KEY_PREFIX}{uuid.uuid4().hex}")
        self._ledger.sent.trying(sent.task_id, keys, boot_id)
        await self._step(sent.task_id, "trying")
        if sent.result is None:
            return True
        text = frames.result(sent.result, sent.task.subject, sent.task.created_at, len(keys) - 1)
        worker_session = f"agent:{sent.task.to}:nats:{sent.task_id}"
        await self._waking.announce(sent.task.sender, sent.session_key, text, keys[-1], worker_session)
        await self._step(sent.task_id, "accepted")
        if not await self._waking.until_arrived(sent.session_key, keys[-1], boot_id):
            self._ledger.sent.trying(sent.task_id, keys, "")  # that run is over: the next try needs a new key
            return False
        fresh = self._ledger.sent.get(sent.task_id)
        return await self._announced(fresh or sent)

    async def _announced(self, sent: Sent) -> bool:
        self._ledger.sent.settled(sent.task_id, "announced")
        self._outbox.event("announced", sent.task_id, sent.task.sender, repeats=sent.repeats)
        await self._step(sent.task_id, "announced")
        await self._reader.settle(sent.task_id)
        return True

    async def _leave_in_inbox(self, sent: Sent) -> bool:
        """The session is gone: the result stays unread in the agent's inbox, and a person is told."""
        self._ledger.sent.settled(sent.task_id, "inbox")
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

    async def _step(self, task_id: str, name: str) -> None:
        """A place where tests stop the process; nothing listens otherwise."""
        if self.on_step is not None:
            await self.on_step(task_id, name)
