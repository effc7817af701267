"""Escalation: a blocker that nobody answers climbs along `reports_to`, from one superior to the next, up to a person.

The agent that raises it tells the first superior by itself. From there on the blocker has a timer. The state of a
blocker is a fold over the events of its thread, so that any steward can go on with it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, ClassVar

from clawbus.org import STEWARD, Org
from clawbus.org.duration import in_words
from clawbus.org.tool_bounds import Bound, bound_of, delegable, meet
from clawbus.steward.context import in_line, quoted
from clawbus.steward.duty import Duty
from clawbus.wire.envelope import Envelope, now
from clawbus.wire.events import Event, tools_in

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Blocker:
    """A blocker that was raised. `chain`: the superiors who may be asked, nearest first; the last one is a person."""

    id: str
    raised_by: str
    chain: tuple[str, ...]
    asked: tuple[str, ...]
    subject: str
    body: str
    about: str = ""
    resolved_by: str = ""
    tools: Bound = None
    """The only tools of a turn that it begins: those that its raiser may let others use."""

    @property
    def next(self) -> str | None:
        """The superior who is asked next; None if the last one of the chain was asked."""
        return self.chain[len(self.asked)] if len(self.asked) < len(self.chain) else None


class Escalation(Duty):
    """A timer of this duty is a blocker that is not resolved. Its key is the blocker's thread."""

    rule: ClassVar[str] = "escalation"

    async def on_event(self, event: Event) -> None:
        if event.kind == "raised":
            await self._raised(event)
        elif event.kind == "resolved":
            blocker = await self._blocker(event.task_id)
            if blocker is not None and blocker.resolved_by:
                await self._clear(blocker)

    async def _raised(self, event: Event) -> None:
        blocker = await self._blocker(event.task_id)
        if blocker is None or blocker.resolved_by:
            return
        first = blocker.chain[0]
        if first in self.context.org.people:  # the blocker lies in the inbox already
            cause = (self.rule, blocker.id, 0)
            text = _text(blocker, "")
            await self.context.reach(
                first, text, cause=cause, subject=_subject(blocker), task_id=blocker.id, inbox=False
            )
        await self._wait(blocker)

    async def on_timer(self, key: str, body: dict[str, Any]) -> None:
        blocker = await self._blocker(key)
        if blocker is None or blocker.resolved_by:
            return
        if body.get("asked") != len(blocker.asked):  # a steward died between asking and setting the next timer
            await self._wait(blocker)
        elif blocker.next is None:
            await self._nobody_answers(blocker)
        else:
            await self._ask(blocker, blocker.next)

    async def _ask(self, blocker: Blocker, to: str) -> None:
        """Bring a blocker to the next superior."""
        key, cause = blocker.id, (self.rule, blocker.id, len(blocker.asked))
        waited = in_words(self.context.org.policies.escalate_s)
        why, subject = f"{blocker.asked[-1]} has not answered it within {waited}.", _subject(blocker)
        if to in self.context.org.people:
            text = _text(blocker, why)
            await self.context.reach(to, text, cause=cause, subject=subject, kind="blocker", task_id=key)
        else:
            text = _text(blocker, why, "nats_inbox, action answer")
            await self.context.tell(
                to,
                text,
                cause=cause,
                subject=subject,
                kind="blocker",
                priority="high",
                task_id=key,
                tools=blocker.tools,
            )
        await self.context.event("escalated", key, cause=cause, to=to, after=blocker.asked[-1])
        log.info("blocker %s of %s goes on to %s", key, blocker.raised_by, to)
        if (further := await self._blocker(key)) is not None:
            await self._wait(further)

    async def on_mail(self, mail: Envelope) -> None:
        """Hand the answer of a superior whom the steward has asked to the agent that raised the blocker."""
        blocker = await self._blocker(mail.task_id) if mail.task_id and mail.type == "message" else None
        if blocker is None or mail.sender not in blocker.asked:
            return
        if blocker.raised_by != STEWARD:
            await self.context.tell(
                blocker.raised_by,
                f"{mail.sender} answers your blocker {blocker.id}:\n\n{quoted(mail.body)}",
                cause=(self.rule, mail.id),
                subject=f"Re: {blocker.subject}",
                priority="high",
                task_id=blocker.id,
                tools=bound_of(self.context.org, mail),
            )
        if not blocker.resolved_by:
            await self.context.event("resolved", blocker.id, cause=(self.rule, mail.id), by=mail.sender)

    async def _nobody_answers(self, blocker: Blocker) -> None:
        asked = ", ".join(blocker.asked)
        about = in_line(blocker.subject)
        text = f"Nobody has answered the blocker {blocker.id} of {blocker.raised_by}: {about}. Asked: {asked}."
        await self.context.alert(self.rule, blocker.id, True, f"{text}\n\n{_words(blocker)}")

    async def _clear(self, blocker: Blocker) -> None:
        await self.context.forget_timer(self.rule, blocker.id)
        await self.context.alert(self.rule, blocker.id, False, f"resolved by {blocker.resolved_by}")

    async def _wait(self, blocker: Blocker) -> None:
        due = now() + timedelta(seconds=self.context.org.policies.escalate_s)
        await self.context.at(self.rule, blocker.id, due, {"asked": len(blocker.asked)})

    async def _blocker(self, thread: str) -> Blocker | None:
        return fold(await self.context.history.events(thread), self.context.org)


def _subject(blocker: Blocker) -> str:
    return f"blocker of {blocker.raised_by}: {blocker.subject}"


def _text(blocker: Blocker, why: str, how: str = "") -> str:
    """The text that the next superior reads. `how`: the way to answer; for a person, the command."""
    who = "" if blocker.raised_by == STEWARD else f"{blocker.raised_by} is blocked. "
    how = how or f"clawbus send {blocker.raised_by} TEXT --about {blocker.id}"
    return f"{who}{why}\n\n{_words(blocker)}\n\nAnswer it: {how}".strip()


def _words(blocker: Blocker) -> str:
    """The body of a blocker: quoted, unless the steward itself has raised it (a breach)."""
    return blocker.body if blocker.raised_by == STEWARD else quoted(blocker.body)


def fold(events: Iterable[Event], org: Org) -> Blocker | None:
    """The blocker of a thread; None if none was raised there. `events`: in the stream's order."""
    found: Blocker | None = None
    for event in events:
        if event.kind == "raised" and found is None:
            found = _raised(event, org)
        elif found is None or found.resolved_by:
            continue
        elif event.kind == "escalated" and event.sender == STEWARD and event.detail.get("to") == found.next:
            found = replace(found, asked=(*found.asked, str(found.next)))
        # Only a superior who was asked can resolve it, or the steward when nothing is left to resolve.
        elif event.kind == "resolved" and event.sender in (*found.asked, STEWARD):
            found = replace(found, resolved_by=event.sender)
    return found


def _raised(event: Event, org: Org) -> Blocker | None:
    detail = {name: str(value) for name, value in event.detail.items()}
    # The steward's event of a breach brings the chain. For all others that of org.toml counts, whatever the event says.
    chain = tuple(detail.get("chain", "").split()) if event.sender == STEWARD else org.chain(event.sender)
    if not chain:
        return None
    subject, body, about = detail.get("subject", ""), detail.get("body", ""), detail.get("about", "")
    bound = meet(tools_in(event), delegable(org, event.sender))
    return Blocker(event.task_id, event.sender, chain, chain[:1], subject, body, about, tools=bound)
