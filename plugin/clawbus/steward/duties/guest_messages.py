"""Guest messages: the steward translates what plain clients publish, and sends it to the right agents as `external`.

The guests write on the subjects and in the JSON of the published examples (`tasks.guests`). The stream GUEST keeps what
they write, and acknowledges nothing. A query is different, since a stream does not keep its reply subject. So every
steward subscribes to queries. A query becomes a task and gets the agent's answer, or "pending" at its deadline. A query
that came without a reply subject, or while no steward was there, is a message.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

from clawbus.bus import Message
from clawbus.errors import Away, ClawbusError
from clawbus.org import EXTERNAL
from clawbus.steward.context import Context, in_line
from clawbus.steward.duty import Duty
from clawbus.tasks import Following
from clawbus.tasks.guests import ANSWERS, Place, Words, place, read
from clawbus.wire.envelope import Envelope, now
from clawbus.wire.events import Event, accepted_detail

log = logging.getLogger(__name__)
_MARGIN_S = 1.0
"""A guest gets "pending" this long before its own deadline."""
_SUBSCRIPTION_LAG_S = 0.05
_MOST_LIVE = 10_000
_NOBODY, _QUIET = "nobody", timedelta(hours=1)


class GuestMessages(Duty):
    """Publishes for the guests on the company's own channels, under a name that is never verified."""

    rule: ClassVar[str] = "guests"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._following = Following(context.bus, context.subjects, context.ends)
        self._answering: set[asyncio.Task[None]] = set()
        self._live: OrderedDict[bytes, bool] = OrderedDict()
        """Digest of each query that came over the subscription -> True if its sender waits for an answer."""
        self._stop: Callable[[], Awaitable[None]] | None = None

    async def on_start(self) -> None:
        """Subscribe to queries."""
        guests = self.context.org.guests
        if guests.enabled and self._stop is None:
            self._stop = await self.context.bus.listen(f"{guests.genbrain}.agents.*.inbox", self._on_query)

    async def on_guest(self, subject: str, data: bytes, seq: int) -> None:
        where = place(self.context.org, subject)
        if where is None:
            await self._alert_nobody(subject)
            return
        words = read(self.context.org, data, where.box)
        if words.asks and self._takes_queries(subject):
            if await self._is_waited_for(subject, data):
                return
            words = replace(words, kind="message")
        for to in where.to if words.kind != "task" else where.queues[:1]:
            await self._publish(where, words, to, seq)

    async def _alert_nobody(self, subject: str) -> None:
        """Alert people of a message for nobody, once for any number of them: nothing is dropped in silence."""
        log.warning("a guest spoke on %s, where nobody listens", subject)
        await self.context.at(self.rule, _NOBODY, now() + _QUIET, {})
        text = (
            f"A guest spoke on {in_line(subject)[:200]}, where nobody of the company listens: it is lost.\n"
            "Is an agent of that id or that role, or a team, missing in org.toml?"
        )
        await self.context.alert(self.rule, _NOBODY, True, text, subject=subject[:300])

    async def on_timer(self, key: str, body: dict[str, Any]) -> None:  # noqa: ARG002 - a timer has a body
        await self.context.alert(self.rule, key, False, "for an hour no guest has spoken where nobody listens")

    def _takes_queries(self, subject: str) -> bool:
        """True if it is one of the subjects to which `on_start` subscribes."""
        first, *rest = subject.split(".")
        return first == self.context.org.guests.genbrain and rest[:1] == ["agents"] and rest[-1] == "inbox"

    async def _is_waited_for(self, subject: str, data: bytes) -> bool:
        """True if a query of the stream came over the subscription with a reply subject: then it is a task already."""
        if (key := _digest(subject, data)) not in self._live:
            await asyncio.sleep(_SUBSCRIPTION_LAG_S)  # the stream may be a little faster than the subscription
        return self._live.get(key, False)

    async def _publish(self, where: Place, words: Words, to: str, *cause: object) -> Envelope:
        """Publish a guest's words on a channel of the company. Raises Away or Refused."""
        envelope = self._envelope(words, to, cause)
        box = "tasks" if words.kind == "task" else where.box
        tokens = {**where.tokens, "to": to, "priority": words.priority}
        subject = self.context.subjects.build(box, EXTERNAL, **tokens)
        if words.kind == "task":
            await self.context.spend.reserve(envelope)
        await self.context.bus.publish(subject, envelope.encode(), msg_id=envelope.id)
        if words.kind == "task":
            await self._accepted(envelope)
        if words.unmet:
            await self._tell_people(envelope, words.unmet)
        return envelope

    async def _tell_people(self, task: Envelope, unmet: str) -> None:
        # A guest cannot be told anything, so the people of [alerts] read what it asked for and does not get.
        for person in self.context.org.alerted:
            text = f"A guest gave {task.to} task {task.task_id}. When it is done, {unmet}."
            cause, subject = (self.rule, task.task_id, "unmet"), "not all that a guest wants"
            await self.context.tell(person, text, cause=cause, subject=subject, kind="report")

    def _envelope(self, words: Words, to: str, cause: tuple[object, ...]) -> Envelope:
        given = self.context.given(self.rule, to, *cause, sender=EXTERNAL)
        task_id = given["task_id"]
        return Envelope(
            id=self.context.guest_message_id(self.rule, to, *cause),
            type=words.kind,
            sender=EXTERNAL,
            to=to,
            task_id=task_id,
            seed=given["seed"] if words.kind == "task" else None,
            takers=self.context.org.members(to) or None if words.kind == "task" else None,
            trace_id=task_id,
            subject=words.title,
            body=words.text,
            priority=words.priority,
            sla=words.sla,
            on_complete=words.on_complete,
            artifacts=words.artifacts,
            run_timeout_s=self.context.org.policies.run_deadline_s if words.kind == "task" else None,
        )

    async def _accepted(self, task: Envelope) -> None:
        """Publish the event `accepted`, as a node does for its agents' tasks."""
        task_id = task.task_id or ""
        event = Event(
            id=self.context.guest_message_id(task_id, "accepted"),
            kind="accepted",
            task_id=task_id,
            sender=EXTERNAL,
            detail=accepted_detail(task),
        )
        subject = self.context.subjects.event(task_id, EXTERNAL)
        await self.context.bus.publish(subject, event.encode(), msg_id=event.id)

    # -- queries ---------------------------------------------------------------------------------------------------

    def _on_query(self, message: Message) -> None:
        reply = str(getattr(message, "reply", ""))
        # No other subject is answered: else a guest could have the steward publish wherever it may.
        is_waited_for = reply.startswith(ANSWERS)
        self._note(_digest(message.subject, message.data), is_waited_for)
        if not is_waited_for:
            return
        answering = asyncio.get_running_loop().create_task(self._answer(message.subject, message.data, reply))
        self._answering.add(answering)
        answering.add_done_callback(self._answering.discard)

    def _note(self, key: bytes, waited_for: bool) -> None:
        self._live[key] = waited_for
        self._live.move_to_end(key)
        if len(self._live) > _MOST_LIVE:
            self._live.popitem(last=False)

    async def _answer(self, subject: str, data: bytes, reply: str) -> None:
        where = place(self.context.org, subject)
        words = read(self.context.org, data, "dm")
        if not words.asks:
            return
        try:
            answer = await self._ask(where, words, reply) if where else {"status": "refused", "error": "no such agent"}
        except ClawbusError as error:
            answer = {"status": "refused", "error": error.message}
        with contextlib.suppress(Away):
            await self.context.bus.tell(reply, json.dumps(answer, ensure_ascii=False).encode())

    async def _ask(self, where: Place, words: Words, reply: str) -> dict[str, Any]:
        """Give a query as a task, and wait for the agent's answer."""
        began = now()
        # All stewards get the query. The task's id follows from the reply subject, so there is one task.
        task = await self._publish(where, words, where.queues[0], reply)
        try:
            async with asyncio.timeout(max(1.0, words.wait_s - _MARGIN_S)):
                end = await self._following.end(task.task_id or "", EXTERNAL, task.to)
        except TimeoutError:
            return {"status": "pending", "task_id": task.task_id, "to": task.to}
        took_s = round((now() - began).total_seconds(), 2)
        return {
            "status": end.status,
            "from": end.by,
            "task_id": task.task_id,
            "answer": end.envelope.body,
            "took_s": took_s,
        }


def _digest(subject: str, data: bytes) -> bytes:
    return hashlib.sha256(subject.encode() + b"\n" + data).digest()
