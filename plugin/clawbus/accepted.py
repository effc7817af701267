"""What the events `accepted` and `raised` say: all that others need to follow a task or a blocker, without it.

The task leaves its queue when it is done; the board, the deadlines and the chains go by this event.
"""

from __future__ import annotations

from clawbus.envelope import Envelope
from clawbus.events import Value

_MAX_BODY_CHARS = 8_000


def accepted(task: Envelope) -> dict[str, Value]:
    """The detail of the event. `body` is there only for a chain, whose next task quotes it; cut where it is long."""
    detail: dict[str, Value] = {
        "to": task.to,
        "label": task.subject,
        "priority": task.priority,
        "parent": task.parent,
        "expires_at": task.expires_at.isoformat() if task.expires_at else None,
    }
    if task.sla is not None:
        detail["ack_within_s"] = task.sla.ack_within_seconds
        minutes = task.sla.complete_within_minutes
        detail["complete_within_s"] = minutes * 60 if minutes else None
    if task.on_complete is not None:
        detail |= {"then_to": task.on_complete.to, "then_template": task.on_complete.template}
        detail |= {"body": task.body[:_MAX_BODY_CHARS], "hops": task.hops, "path": " ".join(task.path)}
        detail["trace_id"] = task.trace_id
    return {name: value for name, value in detail.items() if value is not None}


def raised(blocker: Envelope) -> dict[str, Value]:
    """The detail of the event `raised`: with it the steward can take a blocker on when the message itself is gone."""
    detail: dict[str, Value] = {
        "to": blocker.to,
        "subject": blocker.subject,
        "priority": blocker.priority,
        "about": blocker.parent,
        "body": blocker.body[:_MAX_BODY_CHARS],
    }
    return {name: value for name, value in detail.items() if value is not None}
