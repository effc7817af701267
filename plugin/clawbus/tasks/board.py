"""From events to the state of each task. A pure function: the same events give the same board, in any process."""

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
    """What is known of one task. Execution (`state`) and delivery (`delivery`) are two things."""

    task_id: str
    requester: str = ""
    to: str = ""
    """Whom it was given to: an agent, or a team or pool of which one member takes it."""
    worker: str = ""
    """Who has taken it; as long as nobody has, whom it was given to."""
    label: str = ""
    priority: str = ""
    state: str = "queued"
    """queued, waiting_approval, delivered, running, interrupted, or how it ended: done, failed, cancelled, timed_out,
    dead."""
    delivery: str = "open"
    """open (no result yet), waiting (the result has not reached the session), announced, or answered."""
    attempts: int = 0
    repeats: int = 0
    progress: str = ""
    reported: str = ""
    """What its worker last said of it in words; `progress` is what its turn was last seen doing."""
    steered: str = ""
    """What became of the last thing that was said to it: kept, heard, late or refused, and why."""
    ended_by: str = ""
    result: str = ""
    files: tuple[str, ...] = ()
    """The names of the files that came with its result."""
    times: dict[str, datetime] = field(default_factory=dict)
    """First time of each kind of event."""

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
    """The tasks, in the order in which they were first heard of.

    Give the events in the stream's order: the first `accepted` says who the parties are, and each kind of event
    counts from the party only that can know it. `takers`: who may take what is addressed so (`Org.may_take`);
    `people`: whose word decides what waits for approval.
    """
    heard = list(events)
    parties: dict[str, tuple[str, Collection[str]]] = {}
    for event in heard:
        if event.kind == "accepted":
            workers = {*takers(str(event.detail.get("to", ""))), *takers_in(event)}
            parties.setdefault(event.task_id, (event.sender, workers))
    known = {one.task_id for one in heard if _may_say(one, parties.get(one.task_id))}
    views: dict[str, TaskView] = {}
    for event in sorted(heard, key=lambda event: event.at):
        # of a known task, whenever it was heard of: the clock of a person's machine may be behind
        decides = event.kind in _DECISIONS and event.sender in people and event.task_id in known
        if decides or _may_say(event, parties.get(event.task_id)):
            views[event.task_id] = _after(views.get(event.task_id) or TaskView(event.task_id), event)
    for envelope, at in ends:
        open_view = views.get(envelope.task_id or "")
        if open_view is not None and not open_view.ended_by:
            views[open_view.task_id] = _ended(open_view, envelope, at)
    return list(views.values())


def _may_say(event: Event, parties: tuple[str, Collection[str]] | None) -> bool:
    """A kind that is no state of a task (a blocker's, the steward's) is no business of the board."""
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
    """What its worker has said of it."""
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
    """A person has decided on what waited: it goes on, or ends soon."""
    after = "queued" if event.detail.get("side") == "dispatch" else "running"
    return replace(view, state=after if view.state == "waiting_approval" else view.state)


def _progress(event: Event) -> str:
    """What is being done, or whom it waits for; nothing where an event does not say."""
    if event.kind == "waiting_approval":
        side = "start" if event.detail.get("side") == "dispatch" else "report"
        return f"its {side} waits for {event.detail.get('to')}"
    return _words(event.detail.get("what")) if event.kind == "progress" else ""


def _words(said: object) -> str:
    """A few words of others for a list, which one row of any length would push off the screen."""
    text = str(said or "")
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


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
        files=tuple(one.name for one in end.artifacts),
        delivery=delivery,
        times={**view.times, "ended": at},
    )
