"""Turns for mail: one per message that asks for one, and a digest of the rest after a while of quiet.

At most two run at a time on a gateway, and one per agent: tasks and people keep the other turns. A message has been
shown when it stands in the transcript (`session_delivery`). Then it is done with, and can still be answered. The turn's
reply goes nowhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import operator
from datetime import datetime, timedelta

from clawbus.errors import BusAway, GatewayAway, Refused
from clawbus.gateway import GatewayRpc, SessionKey, TurnLost, Turns, bus_session
from clawbus.node.ledger import Ledger, Mail, Wake
from clawbus.node.mailbox.attachments import Attachments
from clawbus.node.mailbox.inbox import Inbox
from clawbus.node.mailbox.session_delivery import Delivery, SessionDelivery, until_done
from clawbus.node.prompts import frames
from clawbus.node.signals import NodeSignals, Probe, no_probe
from clawbus.org import Org
from clawbus.org.tool_bounds import bound_of
from clawbus.retry import pause
from clawbus.wire.envelope import now

log = logging.getLogger(__name__)
_AT_ONCE = 2
_PATIENCE = 10
"""A digest waits for quiet, but no longer than so many times its period."""
_DIGEST_CHARS = 200_000
_ALSO = 10


class MailTurns:
    """Begins turns for the mail of one gateway's agents, while that gateway is ready."""

    def __init__(
        self,
        org: Org,
        rpc: GatewayRpc,
        session_delivery: SessionDelivery,
        ledger: Ledger,
        inbox: Inbox,
        files: Attachments,
        signals: NodeSignals,
        probe: Probe = no_probe,
    ) -> None:
        self._rpc = rpc
        self._turns = Turns(rpc)
        self._session_delivery = session_delivery
        self._ledger = ledger
        self._inbox = inbox
        self._files = files
        self._org = org
        self._quiet = timedelta(seconds=org.policies.digest_s)
        self._timeout_s = org.policies.run_deadline_s
        self._busy: set[str] = set()
        self._left: list[Wake] = []
        self._free = asyncio.Semaphore(_AT_ONCE)
        self._news = asyncio.Event()
        self._permit = session_delivery.permit
        self._probe = probe
        self._permit.on_change.connect(self.look)
        signals.mail.connect(self.look)

    def look(self) -> None:
        """There is new mail."""
        self._news.set()

    async def run(self) -> None:
        """Until cancelled. What a crash has cut off comes first."""
        async with asyncio.TaskGroup() as group:
            self._left = self._ledger.wakes.unfinished()
            while True:
                await self._free.acquire()
                wake = await self._next()
                self._busy.add(wake.agent)
                group.create_task(self._carry_out(wake), name=f"mail-{wake.number}")

    async def _next(self) -> Wake:
        """The next turn: of what asks for one now the most urgent, else a digest that is due."""
        while True:
            await self._rpc.ready.wait()  # until then all that comes can still be put in order
            self._news.clear()
            wake = self._cut_off() or self._urgent() or self._digest()
            if wake is not None:
                return wake
            await pause(self._news, self._until_a_digest())

    def _cut_off(self) -> Wake | None:
        """A turn that an earlier life of this node had begun, or was about to; or that was held up by a pause."""
        barred = self._permit.barred()
        wake = next((left for left in self._left if left.agent not in barred), None)
        if wake is not None:
            self._left.remove(wake)
        return wake

    def _urgent(self) -> Wake | None:
        mail = self._ledger.mail.most_urgent(self._busy | self._permit.barred())
        return None if mail is None else self._new(mail.agent, self._session(mail), [mail])

    def _session(self, mail: Mail) -> str:
        """One session per sender; the answer to a blocker goes where it was raised, if that is a session of the bus."""
        raised = self._ledger.raised.session_of(mail.envelope.task_id or "", mail.agent)
        key = SessionKey.of_bus(raised or "")
        if raised is not None and mail.channel == "dm" and key is not None and key.agent == mail.agent:
            return raised
        return bus_session(mail.agent, f"from-{mail.envelope.sender}")

    def _digest(self) -> Wake | None:
        for agent, due in self._digests():
            if due <= now():
                mails = _fitting(self._bounded_alike(self._ledger.mail.fresh(agent)))
                return self._new(agent, bus_session(agent, "digest"), mails)
        return None

    def _bounded_alike(self, mails: list[Mail]) -> list[Mail]:
        """The first, and those whose senders leave its turn the same tools: the others get a turn of their own."""
        bounds = [bound_of(self._org, mail.envelope) for mail in mails]
        return [mail for mail, bound in zip(mails, bounds, strict=True) if bound == bounds[0]]

    def _digests(self) -> list[tuple[str, datetime]]:
        """The agents that are to have a digest, each with its time, the first one first."""
        found = [
            (agent, min(last + self._quiet, first + _PATIENCE * self._quiet))
            for agent, (first, last) in self._ledger.mail.quiet_since().items()
            if agent not in self._busy | self._permit.barred()
        ]
        return sorted(found, key=operator.itemgetter(1))

    def _until_a_digest(self) -> float | None:
        return next((max(0.05, (due - now()).total_seconds()) for _, due in self._digests()), None)

    def _new(self, agent: str, session_key: str, mails: list[Mail]) -> Wake:
        with self._ledger.together():
            wake = self._ledger.wakes.add(agent, session_key)
            self._ledger.mail.give_to(wake.number, mails)
        return wake

    async def _carry_out(self, wake: Wake) -> None:
        try:
            await until_done(functools.partial(self._try, wake.number), "a turn for mail")
        finally:
            self._busy.discard(wake.agent)
            self._free.release()
            self.look()

    async def _try(self, number: int) -> bool:
        """One try. True when the turn is over, there is nothing left to show, or it waits until its agent may begin."""
        wake = self._ledger.wakes.get(number)
        if wake is None:
            return True
        if wake.agent in self._permit.barred():
            self._left.append(wake)  # others have its place meanwhile
            return True
        mails = self._ledger.mail.of_wake(number)
        fresh = [mail for mail in mails if mail.state == "unread"]  # the agent may have read some itself since
        if not mails or (not fresh and not wake.keys):
            self._ledger.wakes.settled(number, "dropped")
            return True
        try:
            return await self._show(wake, mails, fresh or mails)
        except (GatewayAway, BusAway):
            return False
        except Refused as refusal:
            log.error("the session %s took no mail, which stays in nats_inbox: %s", wake.session_key, refusal)
            for mail in mails:  # a task that waits for one of them would wait without end
                self._ledger.raised.give_up(mail.envelope.task_id or "", mail.agent)
            self._ledger.wakes.settled(number, "dropped")
            return True

    async def _show(self, wake: Wake, mails: list[Mail], fresh: list[Mail]) -> bool:
        """Bring the fresh ones into the session, and wait for the turn to end. Raises GatewayAway or Refused."""
        delivery = self._delivery(wake, fresh, await self._files.of(wake.agent, *(mail.envelope for mail in fresh)))
        if wake.agent in self._permit.barred():
            return False
        if (earlier := await self._session_delivery.arrived(delivery)) is not None:
            self._answered(wake, mails, earlier, wake.boot_id)
            await self._inbox.shown(mails, wake.number)
            return True
        boot_id = self._rpc.boot_id
        key = await self._session_delivery.bring(delivery)
        if key is None:
            return False
        self._answered(wake, mails, key, boot_id)
        await self._inbox.shown(mails, wake.number)
        await self._probe(str(wake.number), "mail-shown")
        with contextlib.suppress(TurnLost, TimeoutError):
            async with asyncio.timeout(self._timeout_s + 60):
                await self._turns.wait(wake.session_key, key, boot_id)
        return True

    def _answered(self, wake: Wake, mails: list[Mail], key: str, boot_id: str) -> None:
        """A task that waits for the answer to its blocker goes on with the turn of `key`."""
        for mail in mails:
            if self._ledger.raised.session_of(mail.envelope.task_id or "", mail.agent) == wake.session_key:
                self._ledger.raised.answered(mail.envelope.task_id or "", mail.agent, key, boot_id)

    def _delivery(self, wake: Wake, mails: list[Mail], files: str) -> Delivery:
        in_it = {mail.number for mail in mails}
        others = [mail for mail in self._ledger.mail.fresh(wake.agent, _ALSO) if mail.number not in in_it]
        waiting = [frames.line_of(mail.envelope, str(mail.number)) for mail in others]
        shown = [(str(mail.number), mail.channel, mail.envelope) for mail in mails]

        async def step(name: str) -> None:
            await self._probe(str(wake.number), f"mail-{name}")

        return Delivery(
            wake.agent,
            wake.session_key,
            bus_session(mails[0].envelope.sender, "out"),
            wake.keys,
            wake.boot_id,
            lambda repeat: frames.wake(shown, waiting, repeat, self._open_task(wake)) + files,
            lambda keys, boot_id: self._ledger.wakes.trying(wake.number, keys, boot_id),
            step,
            self._timeout_s,
        )

    def _open_task(self, wake: Wake) -> str:
        """The task that is worked on in that session now, if it is one of a task."""
        key = SessionKey.of_bus(wake.session_key)
        run = self._ledger.runs.get(key.id or "") if key is not None else None
        open_here = run is not None and run.state == "started" and run.session_key == wake.session_key
        return run.task_id if open_here and run is not None else ""


def _fitting(mails: list[Mail]) -> list[Mail]:
    """As many as one turn can hold, the most urgent first; the first one always."""
    size = 0
    found: list[Mail] = []
    for mail in mails:
        size += len(mail.envelope.body)
        if found and size > _DIGEST_CHARS:
            break
        found.append(mail)
    return found
