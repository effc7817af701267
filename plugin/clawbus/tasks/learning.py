"""Learning: the insights of a company, and which are in use. A pure fold over the stream LEARN.

An insight starts at `start_trust`. Each other gateway whose agent confirms it from another tree of tasks adds `step`.
Above `promote_over` it may come into use: a person promotes it, or org.toml says `promotion = "auto"`.

`<company>.learning.<from>` has messages of two types. `insight`: its `task_id` is the id of the insight. `confirm`: its
`task_id` is that of an insight. If its body is `promote`, `refuse` or `retract` from a person, or `retract` from the
author, it decides. Any other body of an agent confirms. The steward records under its own name what it has done:
`asked` (it has asked people), `promoted` (the insight is in use), `withdrawn` (it is not in use any more).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from clawbus.bus import Bus
from clawbus.errors import WireError
from clawbus.org import EXTERNAL, STEWARD, Org
from clawbus.wire.channels import LEARN
from clawbus.wire.envelope import Envelope, now
from clawbus.wire.subjects import Subjects

Word = Literal["promote", "refuse", "retract"]
ASKED, PROMOTED, WITHDRAWN = "asked", "promoted", "withdrawn"
State = Literal["open", "awaiting", "promoted", "refused", "retracted", "expired"]
_HIGHEST = 100


@dataclass(frozen=True, slots=True)
class Learned:
    """One message of the stream, and the time at which the server took it."""

    envelope: Envelope
    at: datetime


@dataclass(frozen=True, slots=True)
class Insight:
    """One insight as it stands. `decision`: a person's last decision, or its author's retraction."""

    id: str
    text: str
    subject: str
    author: str
    gateway: str
    """The author's gateway; empty for a person or a guest, who have none."""
    trace: str
    """The tree of tasks that it comes from; empty if it comes from none."""
    at: datetime
    expires_at: datetime
    trust: int
    confirmed_by: tuple[str, ...] = ()
    """The gateways, in the order in which they confirmed it."""
    decision: Word | None = None
    decided_by: str = ""
    decisions: int = 0
    asked: bool = False
    """True if the steward has asked people."""
    recorded: bool = False
    """True if the steward's record says that it is in use."""
    state: State = "open"


async def insights(bus: Bus, org: Org) -> dict[str, Insight]:
    """The insights of the stream as they stand now, by their ids. Raises BusAway."""
    subjects = Subjects(org.company)
    found: list[Learned] = []
    for stored in await bus.stored(LEARN, subjects.everything("learning")):
        with contextlib.suppress(WireError):
            found.append(Learned(await bus.verifier.envelope(subjects, stored), stored.at))
    return fold(found, org, now())


def fold(messages: Iterable[Learned], org: Org, now: datetime) -> dict[str, Insight]:
    """The insights by their ids. `messages`: in the stream's order. A message that fits nowhere changes nothing."""
    found: dict[str, Insight] = {}
    for message in messages:
        insight_id = message.envelope.task_id or ""
        known = found.get(insight_id)
        if known is not None and message.envelope.type == "confirm":
            found[insight_id] = _after(known, message.envelope, org)
        elif known is None and message.envelope.type == "insight" and insight_id:
            found[insight_id] = _new(message.envelope, message.at, org)
    return {key: replace(insight, state=_state(insight, org, now)) for key, insight in found.items()}


def _new(envelope: Envelope, at: datetime, org: Org) -> Insight:
    return Insight(
        id=envelope.task_id or "",
        text=envelope.body,
        subject=envelope.subject,
        author=envelope.sender,
        gateway=_gateway(org, envelope.sender),
        trace=envelope.trace_id or "",
        at=at,
        expires_at=at + timedelta(seconds=org.learning.life_s),
        trust=org.learning.start_trust,
    )


def _after(insight: Insight, confirm: Envelope, org: Org) -> Insight:
    if confirm.sender == STEWARD:
        return _recorded(insight, confirm.body)
    if (word := _decision(insight, confirm, org)) is not None:
        if insight.decision == "retract":  # a retraction is final
            return insight
        return replace(insight, decision=word, decided_by=confirm.sender, decisions=insight.decisions + 1)
    gateway, trace = _gateway(org, confirm.sender), confirm.trace_id or ""
    own = gateway == insight.gateway or (trace and trace == insight.trace)
    if not gateway or own or gateway in insight.confirmed_by:
        return insight
    trust = min(insight.trust + org.learning.step, _HIGHEST)
    return replace(insight, trust=trust, confirmed_by=(*insight.confirmed_by, gateway))


def _decision(insight: Insight, confirm: Envelope, org: Org) -> Word | None:
    word = confirm.body.strip().lower()
    if confirm.sender in org.people:
        return next((known for known in ("promote", "refuse", "retract") if known == word), None)
    is_author = confirm.sender == insight.author != EXTERNAL  # all guests share that name
    return "retract" if is_author and word == "retract" else None


def _recorded(insight: Insight, word: str) -> Insight:
    if word == ASKED:
        return replace(insight, asked=True)
    return replace(insight, recorded=word == PROMOTED) if word in (PROMOTED, WITHDRAWN) else insight


def _state(insight: Insight, org: Org, now: datetime) -> State:
    if insight.decision == "retract":
        return "retracted"
    if insight.expires_at <= now:
        return "expired"
    if insight.decision == "refuse":
        return "refused"
    is_trusted = insight.trust > org.learning.promote_over
    if insight.recorded and (insight.decision == "promote" or (is_trusted and org.learning.promotion == "auto")):
        return "promoted"
    return "awaiting" if is_trusted or insight.decision == "promote" else "open"


def _gateway(org: Org, sender: str) -> str:
    return next((agent.gateway for agent in org.agents if agent.id == sender), "")
