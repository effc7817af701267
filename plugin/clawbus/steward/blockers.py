"""Where a blocker stands: folded from the events of its thread, so that any steward goes on with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from clawbus.org import STEWARD, Org
from clawbus.org.tool_bounds import Bound, delegable, meet
from clawbus.wire.accepted import tools_in
from clawbus.wire.events import Event


@dataclass(frozen=True, slots=True)
class Blocker:
    """A blocker that was raised. `chain`: who may be asked, nearest first; a person ends it."""

    id: str
    raised_by: str
    chain: tuple[str, ...]
    asked: tuple[str, ...]
    subject: str
    body: str
    about: str = ""
    resolved_by: str = ""
    tools: Bound = None
    """What a turn may use that it begins, whoever brings it on: what who raised it may let others use."""

    @property
    def next(self) -> str | None:
        """Who is asked when the last one does not answer in time; None at the top."""
        return self.chain[len(self.asked)] if len(self.asked) < len(self.chain) else None


def fold(events: Iterable[Event], org: Org) -> Blocker | None:
    """The blocker of a thread, None if none was raised there. Give the events in the stream's order.

    Its chain is the org file's, whatever the event says; a breach, which the steward raises, brings one. It is resolved
    by somebody who has been asked, or by the steward when nothing is left to resolve; others' word does not count.
    """
    found: Blocker | None = None
    for event in events:
        if event.kind == "raised" and found is None:
            found = _raised(event, org)
        elif found is None or found.resolved_by:
            continue
        elif event.kind == "escalated" and event.sender == STEWARD and event.detail.get("to") == found.next:
            found = replace(found, asked=(*found.asked, str(found.next)))
        elif event.kind == "resolved" and event.sender in (*found.asked, STEWARD):
            found = replace(found, resolved_by=event.sender)
    return found


def _raised(event: Event, org: Org) -> Blocker | None:
    detail = {name: str(value) for name, value in event.detail.items()}
    chain = tuple(detail.get("chain", "").split()) if event.sender == STEWARD else org.chain(event.sender)
    if not chain:
        return None
    subject, body, about = detail.get("subject", ""), detail.get("body", ""), detail.get("about", "")
    bound = meet(tools_in(event), delegable(org, event.sender))
    return Blocker(event.task_id, event.sender, chain, chain[:1], subject, body, about, tools=bound)
