"""The states of a task, tried in every order: what a node remembers of it, and what all see of it on the board."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from clawbus.node.ledger import Ledger
from clawbus.node.ledger.runs import RunState
from clawbus.node.ledger.sent import Settled
from clawbus.tasks.board import TaskView, fold
from clawbus.wire.envelope import Envelope, Status
from clawbus.wire.events import Event, Kind
from clawbus.wire.subjects import new_message_id, new_task_id

STATUSES = get_args(Status)
STATES = {"queued", "delivered", "running", "interrupted", "waiting_approval", *STATUSES}
TASKS = [new_task_id(), new_task_id()]
PARTIES = {"team": ("cto", "dev"), "cto": ("cto",), "dev": ("dev",)}
SENDERS = ["ceo", "cto", "dev", "mallory", "owner", "steward"]
BEGIN = datetime(2026, 4, 7, tzinfo=UTC)


def outcome(task_id: str, status: Status, sender: str = "cto") -> Envelope:
    fields = {
        "id": new_message_id(sender),
        "type": "result",
        "from": sender,
        "to": "ceo",
        "task_id": task_id,
        "status": status,
        "body": status,
    }
    return Envelope.model_validate(fields)


def task(task_id: str) -> Envelope:
    return Envelope.model_validate(
        {"id": f"ceo-{task_id}", "type": "task", "from": "ceo", "to": "cto", "task_id": task_id, "body": "x"}
    )


class Worker(RuleBasedStateMachine):
    """A worker's row of a task: any delivery, crash and step in any order in which the worker can take them."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.ledger = Ledger(Path(self.folder.name) / "ledger.db")
        self.id = new_task_id()
        self.state, self.strikes, self.acks, self.end = "", 0, 0, ""

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.close()
            self.folder.cleanup()

    @rule()
    def deliver(self) -> None:
        """Also again, also after its close: a lost ack, a lease that ran out."""
        self.acks += 1
        self.ledger.runs.hold(task(self.id), "cto" if not self.state else "dev", f"ack-{self.acks}")
        self.state = self.state or "held"

    @rule()
    def crash(self) -> None:
        """`kill -9`: what is committed stands; half a commit does not."""
        try:
            with self.ledger.together():
                self.ledger.runs.advance(self.id, "closed", outcome(self.id, "dead"))
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
        self.ledger.close()
        self.ledger = Ledger(Path(self.folder.name) / "ledger.db")

    @precondition(lambda self: self.state in ("held", "started"))
    @rule()
    def start(self) -> None:
        self.strikes += 1
        assert self.ledger.runs.starting(self.id, f"key-{self.strikes}", "boot") == self.strikes
        self.state = "started"

    @rule()
    def refuse(self) -> None:
        """The gateway did not take the call: no strike. Said of a task that is not started, it changes nothing."""
        self.ledger.runs.not_started(self.id)
        if self.state == "started":
            self.state, self.strikes = "held", self.strikes - 1

    @precondition(lambda self: self.state in ("held", "started"))
    @rule(status=st.sampled_from(STATUSES))
    def reply(self, status: Status) -> None:
        self.ledger.runs.advance(self.id, "replied", outcome(self.id, status))
        self.state, self.end = "replied", status

    @precondition(lambda self: self.state in ("held", "started", "replied"))
    @rule(status=st.sampled_from(STATUSES))
    def ended(self, status: Status) -> None:
        """By its own outcome, or by somebody who was first."""
        self.ledger.runs.advance(self.id, "ended", outcome(self.id, status, "owner"))
        self.state, self.end = "ended", status

    @precondition(lambda self: self.state in ("ended", "told"))
    @rule()
    def go_on(self) -> None:
        state: RunState = "told" if self.state == "ended" else "closed"
        self.ledger.runs.advance(self.id, state)
        self.state = state

    @invariant()
    def the_row_is_what_has_happened(self) -> None:
        if not hasattr(self, "ledger"):
            return
        run = self.ledger.runs.get(self.id)
        assert (run is None) == (self.state == "")
        if run is None:
            return
        assert (run.state, run.attempt, run.worker, run.ack_subject) == (
            self.state,
            self.strikes,
            "cto",
            f"ack-{self.acks}",
        )
        assert (run.outcome.status if run.outcome else "") == self.end
        assert [one.task_id for one in self.ledger.runs.unfinished()] == [self.id] * (self.state != "closed")
        assert self.ledger.runs.load() == ({"cto": 1} if self.state != "closed" else {})


class Requester(RuleBasedStateMachine):
    """A requester's row: results from anywhere, again and again; its session hears one, and of one only."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.ledger = Ledger(Path(self.folder.name) / "ledger.db")
        self.id = new_task_id()
        self.ledger.sent.add(task(self.id), "agent:ceo:main", "spawn")
        self.result, self.announce = "", "none"

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.close()
            self.folder.cleanup()

    @rule(status=st.sampled_from(STATUSES))
    def result_comes(self, status: Status) -> None:
        first = self.ledger.sent.took_result(self.id, outcome(self.id, status))
        assert first == (self.result == "")
        if first:
            self.result, self.announce = status, "due"

    @rule()
    def given_again(self) -> None:
        """The same task into the ledger once more: the row that is there stays."""
        self.ledger.sent.add(task(self.id), "agent:mallory:main", "request")

    @precondition(lambda self: self.announce in ("due", "trying"))
    @rule()
    def tries(self) -> None:
        self.ledger.sent.trying(self.id, ("key-1",), "boot")
        self.announce = "trying"

    @precondition(lambda self: self.announce in ("due", "trying"))
    @rule(how=st.sampled_from(get_args(Settled)))
    def settles(self, how: Settled) -> None:
        self.ledger.sent.settled(self.id, how)
        self.announce = how

    @rule()
    def crash(self) -> None:
        self.ledger.close()
        self.ledger = Ledger(Path(self.folder.name) / "ledger.db")

    @invariant()
    def the_row_is_what_has_happened(self) -> None:
        if not hasattr(self, "ledger"):
            return
        sent = self.ledger.sent.get(self.id)
        assert sent is not None
        assert (sent.session_key, sent.kind, sent.announce) == ("agent:ceo:main", "spawn", self.announce)
        assert (sent.result.status if sent.result else "") == self.result
        assert bool(self.ledger.sent.to_announce()) == (self.announce in ("due", "trying"))


TestWorker = Worker.TestCase
TestWorker.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestRequester = Requester.TestCase
TestRequester.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)


# -- the board: a fold over what anybody says, in any order ---------------------------------------------------------------

_DETAIL = st.dictionaries(
    st.sampled_from(["to", "label", "priority", "what", "said", "attempt", "how", "repeats", "outcome", "why", "side"]),
    st.sampled_from(["cto", "team", "dev", "mallory", "", "dispatch", "\x1b[2J"])
    | st.integers()
    | st.booleans()
    | st.none()
    | st.floats(allow_nan=False),
)
EVENTS = st.builds(
    lambda kind, sender, task_id, minute, detail: Event(
        id=new_message_id(sender), kind=kind, task_id=task_id, sender=sender, at=BEGIN + timedelta(minutes=minute), detail=detail
    ),
    st.sampled_from(get_args(Kind)), st.sampled_from(SENDERS), st.sampled_from(TASKS), st.integers(-1000, 1000), _DETAIL,
)  # fmt: skip
ENDS = st.builds(
    lambda task_id, status, sender: (outcome(task_id, status, sender), BEGIN),
    st.sampled_from(TASKS),
    st.sampled_from(STATUSES),
    st.sampled_from(SENDERS),
)


def takers(to: str) -> tuple[str, ...]:
    return PARTIES.get(to, (to,))


def board(events: list[Event], ends: list[Any]) -> dict[str, TaskView]:
    return {view.task_id: view for view in fold(events, ends, takers, ("owner",))}


@given(st.lists(EVENTS), st.lists(ENDS))
def test_the_board_takes_any_history(events: list[Event], ends: list[Any]) -> None:
    """One view per task, in a state that there is; the first end counts, whatever is said before and after it."""
    views = board(events, ends)
    for task_id, view in views.items():
        assert view.state in STATES
        first = next((end for end, _ in ends if end.task_id == task_id), None)
        assert (
            (view.state, view.ended_by) == (first.status, first.sender)
            if first
            else view.state not in STATUSES and not view.ended_by
        )
        assert view.delivery != "open" or not view.ended_by
        assert view.as_json()["task_id"] == task_id


@given(st.lists(EVENTS), st.lists(ENDS))
def test_what_is_heard_twice_is_heard_once(events: list[Event], ends: list[Any]) -> None:
    assert board(events + events, ends + ends) == board(events, ends)


def test_no_row_is_as_long_as_a_message_can_be() -> None:
    """Whoever writes events with a key of his own fills no screen with one of them."""
    long = {"label": "x" * 900_000, "what": "x" * 900_000, "why": "x" * 900_000, "priority": "x" * 900_000, "to": "cto"}
    said = [
        ("accepted", "ceo", {}),
        ("progress", "cto", {}),
        ("progress", "cto", {"said": True}),
        ("steered", "cto", {}),
    ]
    events = [
        Event(id=f"{sender}-{n}", kind=kind, task_id=TASKS[0], sender=sender, at=BEGIN, detail=long | more)
        for n, (kind, sender, more) in enumerate(said)
    ]
    view = board(events, [])[TASKS[0]]
    assert all((view.label, view.progress, view.reported, view.steered, view.priority))
    assert len(str(view.as_json())) < 6_000


@pytest.mark.parametrize("early_s", [0, 60])
def test_a_decision_counts_whenever_the_task_is_heard_of(early_s: int) -> None:
    """Also before it, by the clock of a machine that is behind; of a task that nobody knows it is nothing."""
    at = BEGIN - timedelta(seconds=early_s)
    decided = Event(id="owner-1", kind="approved", task_id=TASKS[0], sender="owner", at=at, detail={"side": "dispatch"})
    given_ = Event(id="ceo-1", kind="accepted", task_id=TASKS[0], sender="ceo", at=BEGIN, detail={"to": "cto"})
    once, twice = board([decided, given_], []), board([decided, given_] * 2, [])
    assert once == twice
    assert once[TASKS[0]].times == {"approved": at, "accepted": BEGIN}
    assert board([decided], []) == {}


@given(st.lists(EVENTS), st.lists(EVENTS), st.lists(ENDS))
def test_a_stranger_changes_nothing_on_the_board(events: list[Event], others: list[Event], ends: list[Any]) -> None:
    """Once it is known who gave a task to whom, nobody else says what becomes of it; nor does a second `accepted`."""
    given_ = [
        Event(id=f"ceo-{n}", kind="accepted", task_id=one, sender="ceo", at=BEGIN, detail={"to": "team"})
        for n, one in enumerate(TASKS)
    ]
    strange = [one.model_copy(update={"sender": "mallory"}) for one in others]
    assert board([*given_, *events, *strange], ends) == board([*given_, *events], ends)
    for view in board([*given_, *events, *strange], ends).values():
        assert view.requester == "ceo"
        assert view.worker in (
            "team",
            "cto",
            "dev",
            *(str(one.detail.get("to", "")) for one in events if one.kind == "accepted"),
        )
