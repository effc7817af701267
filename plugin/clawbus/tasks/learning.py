"""What the company learns: insights, what others say of them, which are in use. A pure fold over the stream LEARN.

An insight starts at `start_trust`; each gateway but its author's, whose agent confirms it from another task, adds
`step`. Over `promote_over` it may come into use: by a person's word, or where org.toml says `promotion = "auto"`.

On `<company>.learning.<from>`: type `insight`, whose `task_id` is its id; or type `confirm`, whose `task_id` is that
of the insight, and whose text decides in these cases: `promote`, `refuse`, `retract` from a person, `retract` from the
author. Anything else from an agent confirms. The steward keeps the record, under its own name: `asked` when it has
asked people, `promoted` when an insight has come into use, `withdrawn` when it is not in use any more.
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
class Said:
    """One message of the stream, and when the server took it."""

    envelope: Envelope
    at: datetime


@dataclass(frozen=True, slots=True)
class Insight:
    """One insight as it stands. `decision`: a person's last word, or that of its author who took it back."""

    id: str
    text: str
    subject: str
    author: str
    gateway: str
    """The author's; empty for who lives in none: a person, a guest."""
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
    """Whether the steward has asked people."""
    recorded: bool = False
    """Whether the steward's record says that it is in use."""
    state: State = "open"


async def insights(bus: Bus, org: Org) -> dict[str, Insight]:
    """All that the stream tells of, as it stands now. Raises BusAway."""
    subjects = Subjects(org.company)
    found: list[Said] = []
    for stored in await bus.stored(LEARN, subjects.everything("learning")):
        with contextlib.suppress(WireError):
            found.append(Said(await bus.verifier.envelope(subjects, stored), stored.at))
    return fold(found, org, now())


def fold(said: Iterable[Said], org: Org, now: datetime) -> dict[str, Insight]:
    """The insights by their ids, in the order of the stream. What fits nowhere changes nothing."""
    found: dict[str, Insight] = {}
    for one in said:
        insight_id = one.envelope.task_id or ""
        known = found.get(insight_id)
        if known is not None and one.envelope.type == "confirm":
            found[insight_id] = _after(known, one.envelope, org)
        elif known is None and one.envelope.type == "insight" and insight_id:
            found[insight_id] = _new(one, org)
    return {key: replace(one, state=_state(one, org, now)) for key, one in found.items()}


def _new(said: Said, org: Org) -> Insight:
    told = said.envelope
    return Insight(
        id=told.task_id or "",
        text=told.body,
        subject=told.subject,
        author=told.sender,
        gateway=_gateway(org, told.sender),
        trace=told.trace_id or "",
        at=said.at,
        expires_at=said.at + timedelta(seconds=org.learning.life_s),
        trust=org.learning.start_trust,
    )


def _after(insight: Insight, told: Envelope, org: Org) -> Insight:
    if told.sender == STEWARD:
        return _recorded(insight, told.body)
    if (word := _decision(insight, told, org)) is not None:
        if insight.decision == "retract":  # what was taken back stays so
            return insight
        return replace(insight, decision=word, decided_by=told.sender, decisions=insight.decisions + 1)
    gateway, trace = _gateway(org, told.sender), told.trace_id or ""
    own = gateway == insight.gateway or (trace and trace == insight.trace)
    if not gateway or own or gateway in insight.confirmed_by:
        return insight
    trust = min(insight.trust + org.learning.step, _HIGHEST)
    return replace(insight, trust=trust, confirmed_by=(*insight.confirmed_by, gateway))


def _decision(insight: Insight, told: Envelope, org: Org) -> Word | None:
    word = told.body.strip().lower()
    if told.sender in org.people:
        return next((known for known in ("promote", "refuse", "retract") if known == word), None)
    is_author = told.sender == insight.author != EXTERNAL  # a guest's name is anybody's
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
    over = insight.trust > org.learning.promote_over
    if insight.recorded and (insight.decision == "promote" or (over and org.learning.promotion == "auto")):
        return "promoted"
    return "awaiting" if over or insight.decision == "promote" else "open"


def _gateway(org: Org, sender: str) -> str:
    return next((agent.gateway for agent in org.agents if agent.id == sender), "")
