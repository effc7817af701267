"""From events to the state of each task. A pure function: the same events give the same board, in any process."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from clawbus.envelope import Envelope
from clawbus.events import Event

_STATE = {
    "accepted": "queued",
    "delivered": "delivered",
    "started": "running",
    "progress": "running",
    "interrupted": "interrupted",
    "retrying": "running",
    "resumed": "running",
}


@dataclass(frozen=True, slots=True)
class TaskView:
    """What is known of one task. Execution (`state`) and delivery (`delivery`) are two things."""

    task_id: str
    requester: str = ""
    worker: str = ""
    label: str = ""
    priority: str = ""
    state: str = "queued"
    """queued, delivered, running, interrupted, or how it ended: done, failed, cancelled, timed_out, dead."""
    delivery: str = "open"
    """open (no result yet), waiting (the result has not reached the session), announced, or answered."""
    attempts: int = 0
    repeats: int = 0
    progress: str = ""
    ended_by: str = ""
    result: str = ""
    times: dict[str, datetime] = field(default_factory=dict)
    """First time of each kind of event."""

    def as_json(self) -> dict[str, Any]:
        """For `--json`: times as ISO 8601."""
        names = (
            "task_id",
            "requester",
            "worker",
            "label",
            "priority",
            "state",
            "delivery",
            "attempts",
            "repeats",
            "ended_by",
            "result",
        )
        return {name: getattr(self, name) for name in names} | {
            "times": {kind: at.isoformat() for kind, at in self.times.items()}
        }


def fold(events: Iterable[Event], ends: Iterable[tuple[Envelope, datetime]]) -> list[TaskView]:
    """The tasks, in the order in which they were first heard of.

    Give the events in the stream's order: the first `accepted` says who the parties are, and each kind of event
    counts from the party only that can know it.
    """
    heard = list(events)
    parties: dict[str, tuple[str, str]] = {}
    for event in heard:
        if event.kind == "accepted":
            parties.setdefault(event.task_id, (event.sender, str(event.detail.get("to", ""))))
    views: dict[str, TaskView] = {}
    for event in sorted(heard, key=lambda event: event.at):
        if _may_say(event, parties.get(event.task_id)):
            views[event.task_id] = _after(views.get(event.task_id) or TaskView(event.task_id), event)
    for envelope, at in ends:
        open_view = views.get(envelope.task_id or "")
        if open_view is not None and not open_view.ended_by:
            views[open_view.task_id] = _ended(open_view, envelope, at)
    return list(views.values())


def _may_say(event: Event, parties: tuple[str, str] | None) -> bool:
    if parties is None:
        return event.kind not in ("accepted", "announced")
    return event.sender == parties[0 if event.kind in ("accepted", "announced") else 1]


def _after(view: TaskView, event: Event) -> TaskView:
    times = {**view.times}
    times.setdefault(event.kind, event.at)
    view = replace(view, times=times)
    detail = event.detail
    if event.kind == "accepted":
        return replace(
            view,
            requester=event.sender,
            worker=str(detail.get("to", "")),
            label=str(detail.get("label") or ""),
            priority=str(detail.get("priority", "")),
            state=_later(view.state, "queued"),
        )
    if event.kind == "announced":
        return replace(view, delivery=str(detail.get("how") or "announced"), repeats=event.number("repeats"))
    if event.kind == "ended":
        return view
    attempts = max(view.attempts, event.number("attempt"))
    progress = str(detail.get("what") or "") if event.kind == "progress" else view.progress
    return replace(
        view,
        state=_STATE[event.kind],
        attempts=attempts,
        progress=progress,
        worker=view.worker or event.sender,
    )


def _later(state: str, new: str) -> str:
    """`accepted` may be heard after the worker's first event: clocks and outboxes differ."""
    return state if state != "queued" else new


def _ended(view: TaskView, end: Envelope, at: datetime) -> TaskView:
    delivery = view.delivery if view.delivery != "open" else "waiting"
    return replace(
        view,
        state=end.status or "failed",
        ended_by=end.sender,
        result=end.body,
        delivery=delivery,
        times={**view.times, "ended": at},
    )
