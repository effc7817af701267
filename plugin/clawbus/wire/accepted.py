"""What the events `accepted` and `raised` say: all that others need to follow a task or a blocker, without it.

The task leaves its queue when it is done; the board, the deadlines and the chains go by this event.
"""

from __future__ import annotations

import re

from clawbus.wire.envelope import MAX_TOOLS, TOOL, Envelope, cut
from clawbus.wire.events import Event, Value

_MAX_BODY_BYTES = 32 * 1024


def accepted(task: Envelope) -> dict[str, Value]:
    """The detail of the event. `body` is there only for a chain, whose next task quotes it; cut where it is long."""
    detail: dict[str, Value] = {
        "to": task.to,
        "seed": task.seed,
        "label": task.subject,
        "priority": task.priority,
        "parent": task.parent,
        "expires_at": task.expires_at.isoformat() if task.expires_at else None,
    }
    if task.tools is not None:
        detail["tools"] = " ".join(task.tools)
    if task.takers:
        detail["takers"] = " ".join(task.takers)
    if task.needs_approval:
        detail["needs_approval"] = True
    if task.sla is not None:
        detail["ack_within_s"] = task.sla.ack_within_seconds
        minutes = task.sla.complete_within_minutes
        detail["complete_within_s"] = minutes * 60 if minutes else None
    if task.on_complete is not None:
        detail |= {"then_to": task.on_complete.to, "then_template": task.on_complete.template}
        detail |= {"body": cut(task.body, _MAX_BODY_BYTES), "hops": task.hops, "path": " ".join(task.path)}
        detail["trace_id"] = task.trace_id
    return {name: value for name, value in detail.items() if value is not None}


def raised(blocker: Envelope) -> dict[str, Value]:
    """The detail of the event `raised`: with it the steward can take a blocker on when the message itself is gone."""
    detail: dict[str, Value] = {
        "to": blocker.to,
        "subject": blocker.subject,
        "priority": blocker.priority,
        "about": blocker.parent,
        "body": cut(blocker.body, _MAX_BODY_BYTES),
        "tools": None if blocker.tools is None else " ".join(blocker.tools),
    }
    return {name: value for name, value in detail.items() if value is not None}


def takers_in(event: Event) -> frozenset[str]:
    """Who might take a task for a team or a pool when it was given; nobody for one agent's."""
    return frozenset(str(event.detail.get("takers") or "").split())


def tools_in(event: Event) -> tuple[str, ...] | None:
    """The tools that either event names; None where it has no such list. What is no name is left out: it is data."""
    said = event.detail.get("tools")
    return None if said is None else tuple(one for one in str(said).split() if re.fullmatch(TOOL, one))[:MAX_TOOLS]
