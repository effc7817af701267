"""The tools of a duty: it reads the streams, publishes as the steward, sets timers, raises alerts.

The steward never speaks for another member. What it does on somebody's behalf says so in its text, and names the task
in `parent`.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clawbus.bus import Bus
from clawbus.errors import EndConflict, Halted, OverBudget, WireError
from clawbus.org import EXTERNAL, STEWARD, Org
from clawbus.org.tool_bounds import Bound
from clawbus.steward.alert_states import Alerts
from clawbus.tasks import History
from clawbus.tasks.budget_account import spend_of
from clawbus.tasks.ends import Ends
from clawbus.tasks.halt import Halt
from clawbus.tasks.halt_orders import ALL
from clawbus.wire.channels import ALERTS, EVENTS, TIMERS
from clawbus.wire.envelope import Envelope, Priority, Type, now
from clawbus.wire.events import Event, Kind, accepted_detail
from clawbus.wire.subjects import Subjects, given_id, new_message_id

log = logging.getLogger(__name__)


class Context:
    """The context of one steward. All that it publishes has an id that follows from its cause."""

    def __init__(self, org: Org, bus: Bus, folder: Path = Path()) -> None:
        """`folder`: the folder of org.toml. The files that it names lie beside it."""
        self.org = org
        self.folder = folder
        self.bus = bus
        self.subjects = Subjects(org.company)
        self.ends = Ends(bus, self.subjects, org.may_end, org.may_take)
        self.spend = spend_of(bus, org)
        self.history = History(bus, org)
        self.halt: Halt | None = None
        """The orders of people to stop; None in a command of a person, which they do not stop."""
        self.alerts = Alerts(bus, self.subjects)

    def message_id(self, *cause: object) -> str:
        """The id of the message that follows from a cause. The same words give the same id, in any steward."""
        # It is keyed by the steward's secret. Whoever could guess it could use it first, and the server would take the
        # steward's own message for a duplicate.
        return f"{STEWARD}-{self._word('message', cause)}"

    def task_id(self, *cause: object) -> str:
        """The id of the task or thread that follows from a cause. It has the form of any task id."""
        return self._word("task", cause)

    def given(self, *cause: object, sender: str = STEWARD) -> dict[str, str]:
        """`task_id` and `seed` of the task that `sender`, the steward or a guest, gives for a cause."""
        seed = self.task_id(*cause)
        return {"task_id": given_id(sender, seed), "seed": seed}

    def guest_message_id(self, *cause: object) -> str:
        """The same as `message_id` for a guest's message, which the steward publishes under the guests' name."""
        return f"{EXTERNAL}-{self._word('message', (EXTERNAL, *cause))}"

    def _word(self, what: str, cause: tuple[object, ...]) -> str:
        return self.bus.signers[STEWARD].secret_word("\n".join([self.org.company, what, *map(str, cause)]))

    async def publish(self, subject: str, envelope: Envelope) -> None:
        """Publish an envelope. Raises BusAway, Refused."""
        await self.bus.publish(subject, envelope.encode(), msg_id=envelope.id)

    async def tell(  # noqa: PLR0913 - each is a word of the message
        self,
        to: str,
        body: str,
        *,
        cause: tuple[object, ...],
        subject: str = "",
        kind: Type = "message",
        priority: Priority = "medium",
        task_id: str | None = None,
        parent: str | None = None,
        tools: Bound = None,
    ) -> None:
        """Send a message to the inbox of an agent or a person. `cause`: its id follows from it.

        `tools`: the only tools of a turn that it begins, if it quotes somebody else (`org.tool_bounds`).
        """
        mail = Envelope(
            id=self.message_id(*cause, to),
            type=kind,
            sender=STEWARD,
            to=to,
            task_id=task_id,
            parent=parent,
            subject=in_line(subject)[:200],
            body=body,
            priority=priority,
            tools=tools,
        )
        await self.publish(self.subjects.dm(to, STEWARD), mail)

    async def reach(
        self,
        person: str,
        body: str,
        *,
        cause: tuple[object, ...],
        subject: str = "",
        kind: Type = "message",
        task_id: str | None = None,
        inbox: bool = True,
        whole: str = "",
    ) -> None:
        """Tell a person in every way that org.toml names: the inbox, a webhook, the chat channel of a gateway.

        `inbox=False`: the message lies in the inbox already. `whole`: the command that shows all of a text that is too
        long for a chat.
        """
        if inbox:
            await self.tell(person, body, cause=cause, subject=subject, kind=kind, priority="high", task_id=task_id)
        human = next((human for human in self.org.humans if human.id == person), None)
        if human is None or (human.webhook_file is None and human.channel is None):
            return
        # The duty `person_notifications` takes it from here, and tries again where it fails. The fixed time in the past
        # makes the timer due at once; and it is the same timer if this is done twice.
        mail_id = self.message_id(*cause, person)
        notification = {
            "id": mail_id,
            "to": person,
            "subject": in_line(subject),
            "text": body,
            "task_id": task_id,
            "whole": whole,
        }
        await self.at("reach", self.task_id("reach", mail_id), datetime.fromtimestamp(0, UTC), notification)

    async def event(self, kind: Kind, task_id: str, *, cause: tuple[object, ...], **detail: Any) -> None:
        """Publish an event of a task."""
        event = Event(id=self.message_id(*cause, kind), kind=kind, task_id=task_id, sender=STEWARD, detail=detail)
        await self.bus.publish(self.subjects.event(task_id, STEWARD), event.encode(), msg_id=event.id)

    def check_running(self) -> None:
        """Call it before anything is begun in the company's name. Raises Halted; then the cause is delivered again."""
        if self.halt is not None and (order := self.halt.of(ALL)) is not None:
            raise Halted(str(order), "It comes again until a person resumes it.")

    async def give(self, task: Envelope, **detail: Any) -> None:
        """Give a task as the steward. `detail` goes into its event `accepted`.

        Raises BacklogFull, OverBudget, BusAway.
        """
        self.check_running()
        try:
            await self.spend.reserve(task)
        except OverBudget as error:
            refused = {"used": error.exceeded, "to": task.to, "label": task.subject or None, "parent": task.parent}
            await self.event("over_budget", error.trace, cause=(task.task_id,), **refused)
            raise
        await self.publish(self.subjects.task(task.to, task.priority, STEWARD), task)
        await self.event("accepted", task.task_id or "", cause=(task.task_id,), **accepted_detail(task), **detail)

    async def accepted(self, task_id: str, requester: str) -> Event | None:
        """The event `accepted` that `requester` has published of a task; None if there is none yet."""
        pattern = self.subjects.event(task_id, requester)
        seq = 0
        while (stored := await self.bus.next_message(EVENTS, pattern, seq + 1)) is not None:
            seq = stored.seq
            with contextlib.suppress(WireError):
                event = await self.bus.verifier.event(self.subjects, stored)
                if event.kind == "accepted":
                    return event
        return None

    # -- timers: scheduled messages of the server (nats-server ADR-51); no cron, and none in memory -------------------

    async def at(self, rule: str, key: str, when: datetime, body: dict[str, Any]) -> None:
        """Set a timer: it calls `on_timer(key, body)` of the duty `rule` at `when`, or at once if that has passed.

        It replaces a timer of the same rule and key.
        """
        when = max(when, datetime.fromtimestamp(0, UTC))  # others' times are data: the year 1 has no UTC
        moment = when.astimezone(UTC).isoformat(timespec="milliseconds")  # cut to seconds, it would fire too early
        target = self.subjects.build("timers", STEWARD, phase="due", rule=rule, key=key)
        subject = self.subjects.build("timers", STEWARD, phase="set", rule=rule, key=key)
        headers = {"Nats-Schedule": f"@at {moment}", "Nats-Schedule-Target": target}
        # A new id each time: a timer that is taken back and set again must not count as a duplicate.
        msg_id = new_message_id(STEWARD)
        await self.bus.publish(subject, json.dumps(body).encode(), msg_id=msg_id, headers=headers)

    async def timer(self, rule: str, key: str) -> dict[str, Any] | None:
        """The body of a timer that is set and has not fired; None if there is none."""
        subject = self.subjects.build("timers", STEWARD, phase="set", rule=rule, key=key)
        stored = await self.bus.last_message(TIMERS, subject)
        return json.loads(stored.data) if stored else None

    async def timer_keys(self, rule: str) -> list[str]:
        """The keys of a rule's timers that are set and have not fired."""
        pattern = self.subjects.filter("timers", STEWARD, phase="set", rule=rule, key="*")
        answer = await self.bus.api(f"STREAM.INFO.{TIMERS}", {"subjects_filter": pattern})
        subjects = answer["state"].get("subjects") or {}
        return [self.subjects.parse(subject).tokens["key"] for subject in subjects]

    async def forget_timer(self, rule: str, key: str) -> None:
        """Take a timer back. Nothing happens if there is none."""
        subject = self.subjects.build("timers", STEWARD, phase="set", rule=rule, key=key)
        await self.bus.api(f"STREAM.PURGE.{TIMERS}", {"filter": subject})

    # -- alerts: the last message of a subject is the state ------------------------------------------------------------

    async def alert(
        self, rule: str, key: str, raised: bool, text: str, *, informed: Collection[str] = (), **detail: Any
    ) -> bool:
        """Raise or clear an alert. The people of [alerts] hear of a raised one. False if it is in that state already.

        `informed`: the people who hear of it in another way, and are not told twice.
        """
        subject = self.subjects.build("alerts", STEWARD, rule=rule, key=key)
        last = await self.bus.last_message(ALERTS, subject)
        before = json.loads(last.data) if last else {"raised": False}
        if bool(before.get("raised")) == raised:
            return False
        seq = last.seq if last else 0
        # First the people are told, then the state is written, if no other steward has written it. The ids follow from
        # the alert's last sequence. So two stewards tell once, and if one dies in between, another makes up for it.
        if raised:
            for person in self.org.alerted:
                if person not in informed:
                    await self.reach(person, text, cause=("alert", rule, key, seq), subject=f"alert: {rule} {key}")
        state = {
            "v": 1,
            "rule": rule,
            "key": key,
            "raised": raised,
            "text": text,
            "at": now().isoformat(),
            "detail": detail,
        }
        try:
            msg_id = self.message_id("alert", rule, key, seq, raised)
            await self.bus.publish(subject, json.dumps(state).encode(), msg_id=msg_id, last_seq=(subject, seq))
        except EndConflict:  # another steward was first
            return False
        log.info("alert %s %s: %s", rule, key, "raised" if raised else "cleared")
        return True

    async def clear_others(self, rule: str, keys: Collection[str]) -> None:
        """Clear the alerts of a rule whose key is not in `keys`, since it has left org.toml."""
        for alert in await self.alerts.raised(rule):
            if alert.key not in keys:
                await self.alert(rule, alert.key, False, "it is not in org.toml any more")


def in_line(text: str) -> str:
    """Another member's words for a line of the steward's text. They cannot begin a line of their own."""
    return " ".join(text.split())


def quoted(text: str) -> str:
    """Another member's words for a text of the steward. A mark stands before each line, so none passes for its own."""
    return "\n".join(f"> {line}" for line in text.replace("\r", "\n").splitlines())
