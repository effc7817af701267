"""What a duty works with: it reads the streams, speaks as the steward, sets timers, raises alerts.

The steward never speaks for another: what it does on somebody's behalf says so in its text, and names the task in
`parent`.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clawbus.bus import Bus, last_message
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
    """One steward's. All that it publishes has an id that follows from `rule`, `key` and a number."""

    def __init__(self, org: Org, bus: Bus, folder: Path = Path()) -> None:
        """`folder`: where the org file lies; the files that it names lie beside it."""
        self.org = org
        self.folder = folder
        self.bus = bus
        self.subjects = Subjects(org.company)
        self.ends = Ends(bus, self.subjects, org.may_end, org.may_take)
        self.spend = spend_of(bus, org)
        self.history = History(bus, org)
        self.halt: Halt | None = None
        """What people have stopped; None where a command of theirs is at work."""
        self.alerts = Alerts(bus, self.subjects)

    def message_id(self, *cause: object) -> str:
        """The id of what follows from a cause: the same words give the same id, in any steward; for others no guess.

        Whoever knew it could use it first: the server would take the steward's own message for a second one.
        """
        return f"{STEWARD}-{self._word('message', cause)}"

    def task_id(self, *cause: object) -> str:
        """The id of a task, or a thread, that follows from a cause; by its form a task id like any other."""
        return self._word("task", cause)

    def given(self, *cause: object, sender: str = STEWARD) -> dict[str, str]:
        """`task_id` and `seed` of a task that `sender`, the steward or a guest, gives for a cause; see `task_id`."""
        seed = self.task_id(*cause)
        return {"task_id": given_id(sender, seed), "seed": seed}

    def guest_message_id(self, *cause: object) -> str:
        """The same of what a guest has said, under whose name it goes on."""
        return f"{EXTERNAL}-{self._word('message', (EXTERNAL, *cause))}"

    def _word(self, what: str, cause: tuple[object, ...]) -> str:
        return self.bus.signers[STEWARD].secret_word("\n".join([self.org.company, what, *map(str, cause)]))

    async def publish(self, subject: str, envelope: Envelope) -> None:
        """Raises BusAway, Refused."""
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
        """A message into the inbox of an agent or a person. `cause`: what its id follows from.

        `tools`: what a turn may use that it begins, where it brings what somebody else has said (`rights`).
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
        """Tell a person in every way that org.toml knows: the terminal's inbox, a webhook, a gateway's chat channel.

        `inbox=False`: it lies there already. `whole`: the command that shows all of what is too long for a chat.
        """
        if inbox:
            await self.tell(person, body, cause=cause, subject=subject, kind=kind, priority="high", task_id=task_id)
        human = next((one for one in self.org.humans if one.id == person), None)
        if human is None or (human.webhook_file is None and human.channel is None):
            return
        # From here the duty `reach` goes on, and tries again where it fails. A fixed time in the past: due at once, and
        # the same timer if this is done twice.
        mail_id = self.message_id(*cause, person)
        said = {
            "id": mail_id,
            "to": person,
            "subject": in_line(subject),
            "text": body,
            "task_id": task_id,
            "whole": whole,
        }
        await self.at("reach", self.task_id("reach", mail_id), datetime.fromtimestamp(0, UTC), said)

    async def event(self, kind: Kind, task_id: str, *, cause: tuple[object, ...], **detail: Any) -> None:
        """Say what happened to a task."""
        event = Event(id=self.message_id(*cause, kind), kind=kind, task_id=task_id, sender=STEWARD, detail=detail)
        await self.bus.publish(self.subjects.event(task_id, STEWARD), event.encode(), msg_id=event.id)

    def check_running(self) -> None:
        """Before anything is begun in the company's name. Raises Halted: what it follows from comes again."""
        if self.halt is not None and (order := self.halt.of(ALL)) is not None:
            raise Halted(str(order), "It comes again until a person resumes it.")

    async def give(self, task: Envelope, **detail: Any) -> None:
        """Give a task away as the steward; `detail` goes into its event `accepted`.

        Raises BacklogFull, OverBudget, BusAway.
        """
        self.check_running()
        try:
            await self.spend.reserve(task)
        except OverBudget as error:
            said = {"used": error.over, "to": task.to, "label": task.subject or None, "parent": task.parent}
            await self.event("over_budget", error.trace, cause=(task.task_id,), **said)
            raise
        await self.publish(self.subjects.task(task.to, task.priority, STEWARD), task)
        await self.event("accepted", task.task_id or "", cause=(task.task_id,), **accepted_detail(task), **detail)

    async def accepted(self, task_id: str, requester: str) -> Event | None:
        """What `requester` has said of the task that he gave away, None if he has not said it (yet)."""
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
        """Have `on_timer(key, body)` of the duty `rule` called then; at once if that is over.

        A timer of the same rule and key is replaced.
        """
        when = max(when, datetime.fromtimestamp(0, UTC))  # others' times are data: one of the year 1 has no UTC
        moment = when.astimezone(UTC).isoformat(timespec="milliseconds")  # not cut to seconds: it would be early
        target = self.subjects.build("timers", STEWARD, phase="due", rule=rule, key=key)
        subject = self.subjects.build("timers", STEWARD, phase="set", rule=rule, key=key)
        headers = {"Nats-Schedule": f"@at {moment}", "Nats-Schedule-Target": target}
        # An id of its own each time: one that is taken back and set again must not count as a duplicate.
        msg_id = new_message_id(STEWARD)
        await self.bus.publish(subject, json.dumps(body).encode(), msg_id=msg_id, headers=headers)

    async def timer(self, rule: str, key: str) -> dict[str, Any] | None:
        """The body of a timer that is set and has not fired; None if there is none."""
        subject = self.subjects.build("timers", STEWARD, phase="set", rule=rule, key=key)
        stored = await last_message(self.bus, TIMERS, subject)
        return json.loads(stored.data) if stored else None

    async def timer_keys(self, rule: str) -> list[str]:
        """The keys of a rule's timers that are set."""
        pattern = self.subjects.filter("timers", STEWARD, phase="set", rule=rule, key="*")
        answer = await self.bus.api(f"STREAM.INFO.{TIMERS}", {"subjects_filter": pattern})
        subjects = answer["state"].get("subjects") or {}
        return [self.subjects.parse(subject).tokens["key"] for subject in subjects]

    async def forget_timer(self, rule: str, key: str) -> None:
        """Take a timer back; nothing happens if there is none."""
        subject = self.subjects.build("timers", STEWARD, phase="set", rule=rule, key=key)
        await self.bus.api(f"STREAM.PURGE.{TIMERS}", {"filter": subject})

    # -- alerts: the last message of a subject is the state ------------------------------------------------------------

    async def alert(
        self, rule: str, key: str, raised: bool, text: str, *, told: Collection[str] = (), **detail: Any
    ) -> bool:
        """Raise or clear an alert; the people of [alerts] are reached when it is raised. False if it stands so already.

        `told`: who hears of it in another way, and is not told twice.

        First the people are told, under an id that follows from the alert's history, then the state is written, if
        nobody else has: so two stewards tell once, and one that dies in between is made up for.
        """
        subject = self.subjects.build("alerts", STEWARD, rule=rule, key=key)
        last = await last_message(self.bus, ALERTS, subject)
        before = json.loads(last.data) if last else {"raised": False}
        if bool(before.get("raised")) == raised:
            return False
        seq = last.seq if last else 0
        if raised:
            for person in self.org.alerted:
                if person not in told:
                    await self.reach(person, text, cause=("alert", rule, key, seq), subject=f"alert: {rule} {key}")
        said = {
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
            await self.bus.publish(subject, json.dumps(said).encode(), msg_id=msg_id, last_seq=(subject, seq))
        except EndConflict:  # another steward was first
            return False
        log.info("alert %s %s: %s", rule, key, "raised" if raised else "cleared")
        return True

    async def clear_others(self, rule: str, keys: Collection[str]) -> None:
        """Clear the alerts of a rule about what has left org.toml: nobody looks at it any more."""
        for alert in await self.alerts.raised(rule):
            if alert.key not in keys:
                await self.alert(rule, alert.key, False, "it is not in org.toml any more")


def in_line(text: str) -> str:
    """Another's words within a line of the steward: none of them begins one of its own."""
    return " ".join(text.split())


def quoted(text: str) -> str:
    """Another's words in a text of the steward: a mark before each line, so that none passes for the steward's own."""
    return "\n".join(f"> {line}" for line in text.replace("\r", "\n").splitlines())
