"""The board: the state of each task, as a pure fold. The same events give the same board in any process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from clawbus.wire.envelope import Envelope
from clawbus.wire.events import Event, takers_in

_STATE = {
    "accepted": "queued",
    "delivered": "delivered",
    "started": "running",
    "progress": "running",
    "interrupted": "interrupted",
    "retrying": "running",
    "resumed": "running",
    "waiting_approval": "waiting_approval",
}
_REQUESTERS = ("accepted", "announced")
_DECISIONS = ("approved", "refused")
_SHOWN = 1_000
_KNOWN = frozenset({*_STATE, *_DECISIONS, "announced", "ended", "steered"})


@dataclass(frozen=True, slots=True)
class TaskView:
    """One task as the board shows it. Execution (`state`) and delivery of the result (`delivery`) are two things."""

    task_id: str
    requester: str = ""
    to: str = ""
    """The receiver: an agent, or a team or pool of which one member takes it."""
    worker: str = ""
    """The agent that has taken it; the receiver as long as none has."""
    label: str = ""
    priority: str = ""
    state: str = "queued"
    """queued, waiting_approval, delivered, running or interrupted; then done, failed, cancelled, timed_out or dead."""
    delivery: str = "open"
    """open (no result yet), waiting (the result has not reached the session), announced, or answered."""
    attempts: int = 0
    repeats: int = 0
    progress: str = ""
    reported: str = ""
    """The last progress that its worker has reported in words. `progress` is what its turn was last seen doing."""
    steered: str = ""
    """The outcome of the last text that was said to the running task: kept, heard, late or refused, and why."""
    ended_by: str = ""
    result: str = ""
    files: tuple[str, ...] = ()
    """The names of the files that came with its result."""
    times: dict[str, datetime] = field(default_factory=dict)
    """Kind of event -> the time of the first one."""

    def as_json(self) -> dict[str, Any]:
        """For `--json`: times as ISO 8601."""
        names = (
            "task_id",
            "requester",
            "to",
            "worker",
            "label",
            "priority",
            "state",
            "delivery",
            "attempts",
            "repeats",
            "progress",
            "reported",
            "steered",
            "ended_by",
            "result",
            "files",
        )
        return {name: getattr(self, name) for name in names} | {
            "times": {kind: at.isoformat() for kind, at in self.times.items()}
        }


def fold(
    events: Iterable[Event],
    ends: Iterable[tuple[Envelope, datetime]],
    takers: Callable[[str], Collection[str]] = lambda to: (to,),
    people: Collection[str] = (),
) -> list[TaskView]:
    """The tasks, in the order of their first events.

    `events`: in the stream's order, since the first `accepted` says who requester and workers are. `takers`: the agents
    that may take a task for an address (`Org.may_take`). `people`: those who decide on what waits for approval.
    """
    events = list(events)
    parties: dict[str, tuple[str, Collection[str]]] = {}
    for event in events:
        if event.kind == "accepted":
            workers = {*takers(str(event.detail.get("to", ""))), *takers_in(event)}
            parties.setdefault(event.task_id, (event.sender, workers))
    known = {event.task_id for event in events if _may_say(event, parties.get(event.task_id))}
    views: dict[str, TaskView] = {}
    for event in sorted(events, key=lambda event: event.at):
        # A decision counts whenever it was taken, since the clock of a person's machine may be behind.
        decides = event.kind in _DECISIONS and event.sender in people and event.task_id in known
        if decides or _may_say(event, parties.get(event.task_id)):
            views[event.task_id] = _after(views.get(event.task_id) or TaskView(event.task_id), event)
    for envelope, at in ends:
        open_view = views.get(envelope.task_id or "")
        if open_view is not None and not open_view.ended_by:
            views[open_view.task_id] = _ended(open_view, envelope, at)
    return list(views.values())


def _may_say(event: Event, parties: tuple[str, Collection[str]] | None) -> bool:
    """True if the event counts for the board: each kind counts only from the party that can know it."""
    if event.kind not in _KNOWN or event.kind in _DECISIONS:
        return False
    if parties is None:
        return event.kind not in _REQUESTERS
    return event.sender == parties[0] if event.kind in _REQUESTERS else event.sender in parties[1]


def _after(view: TaskView, event: Event) -> TaskView:
    times = {**view.times}
    times.setdefault(event.kind, event.at)
    view = replace(view, times=times)
    detail = event.detail
    if event.kind == "accepted":
        return replace(
            view,
            requester=event.sender,
            to=str(detail.get("to", "")),
            worker=view.worker or str(detail.get("to", "")),
            label=_words(detail.get("label")),
            priority=str(detail.get("priority", ""))[:_SHOWN],
            state=_later(view.state, "queued"),
        )
    if event.kind == "announced":
        return replace(view, delivery=str(detail.get("how") or "announced"), repeats=event.number("repeats"))
    if event.kind == "ended":
        return view
    if event.kind in _DECISIONS:
        return _decided(view, event)
    if event.kind == "steered":
        return replace(view, steered=": ".join(_words(detail[name]) for name in ("outcome", "why") if detail.get(name)))
    return _worked_on(view, event)


def _worked_on(view: TaskView, event: Event) -> TaskView:
    """The view after an event of its worker."""
    if event.kind == "progress" and event.detail.get("said"):
        return replace(view, reported=_words(event.detail.get("what")))
    return replace(
        view,
        state=_STATE[event.kind],
        attempts=max(view.attempts, event.number("attempt")),
        progress=_progress(event) or view.progress,
        worker=event.sender,
    )


def _decided(view: TaskView, event: Event) -> TaskView:
    """The view after a person's decision: the task goes on, or its node ends it soon."""
    after = "queued" if event.detail.get("side") == "dispatch" else "running"
    return replace(view, state=after if view.state == "waiting_approval" else view.state)


def _progress(event: Event) -> str:
    """The words of an event about what is being done, or who is waited for; empty if it has none."""
    if event.kind == "waiting_approval":
        side = "start" if event.detail.get("side") == "dispatch" else "report"
        return f"its {side} waits for {event.detail.get('to')}"
    return _words(event.detail.get("what")) if event.kind == "progress" else ""


def _words(value: object) -> str:
    """The words of others, cut: one very long row would push all others off the screen."""
    text = str(value or "")
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _later(state: str, new: str) -> str:
    # The time of `accepted` may be after that of the worker's first event: clocks and outboxes differ.
    return state if state != "queued" else new


def _ended(view: TaskView, end: Envelope, at: datetime) -> TaskView:
    delivery = view.delivery if view.delivery != "open" else "waiting"
    return replace(
        view,
        state=end.status or "failed",
        ended_by=end.sender,
        result=end.body,
        files=tuple(artifact.name for artifact in end.artifacts),
        delivery=delivery,
        times={**view.times, "ended": at},
    )
