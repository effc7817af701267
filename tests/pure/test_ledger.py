"""The ledger: what a node must still know after its own crash, and the board, a pure function of events."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbus.errors import Missing
from clawbus.node.ledger import Ledger, Outgoing, SpawnedSession
from clawbus.tasks import fold
from clawbus.wire.envelope import Envelope
from clawbus.wire.events import Event
from clawbus.wire.subjects import new_message_id, new_task_id

START = datetime(2026, 1, 1, tzinfo=UTC)


def envelope(kind: str = "task", **more: object) -> Envelope:
    fields = {
        "id": new_message_id("ceo"),
        "type": kind,
        "sender": "ceo",
        "to": "cto",
        "task_id": new_task_id(),
        "body": "x",
    }
    return Envelope.model_validate(fields | more)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def test_rows_survive_the_process_and_the_file_is_private(path: Path) -> None:
    """What was committed is there when the file is opened again; nobody else may read it."""
    task = envelope()
    with Ledger(path) as ledger:
        ledger.sent.add(task, "agent:ceo:main", "spawn")
        ledger.outbox.add(Outgoing("ceo-1", "acme.dm.cto.ceo", b"x"))
    assert path.stat().st_mode & 0o077 == 0
    with Ledger(path) as ledger:
        sent = ledger.sent.get(task.task_id or "")
        assert sent is not None
        assert (sent.task, sent.session_key) == (task, "agent:ceo:main")
        assert [out.msg_id for out in ledger.outbox.waiting()] == ["ceo-1"]


def test_writes_together_are_all_there_or_none(path: Path) -> None:
    with Ledger(path) as ledger:
        with pytest.raises(RuntimeError):
            _write_and_fail(ledger)
        assert ledger.outbox.count() == 0


def _write_and_fail(ledger: Ledger) -> None:
    with ledger.together():
        ledger.outbox.add(Outgoing("ceo-1", "s", b"x"))
        raise RuntimeError


def test_the_outbox_keeps_the_order_and_one_row_per_id(path: Path) -> None:
    with Ledger(path) as ledger:
        for name in ("c", "a", "b", "a"):
            ledger.outbox.add(Outgoing(name, "s", name.encode()))
        assert [out.msg_id for out in ledger.outbox.waiting()] == ["c", "a", "b"]
        ledger.outbox.remove("c", "b")
        ledger.outbox.remove()
        assert [out.msg_id for out in ledger.outbox.waiting()] == ["a"]


def test_a_task_has_one_result(path: Path) -> None:
    task = envelope()
    with Ledger(path) as ledger:
        ledger.sent.add(task, "agent:ceo:main", "spawn")
        assert ledger.sent.took_result(task.task_id or "", envelope("result"))
        assert not ledger.sent.took_result(task.task_id or "", envelope("result"))
        assert [one.task_id for one in ledger.sent.to_announce()] == [task.task_id]


def test_a_second_delivery_brings_a_newer_ack_subject_and_no_second_run(path: Path) -> None:
    """A laptop that slept longer than the lease goes on under the new one."""
    task = envelope()
    with Ledger(path) as ledger:
        ledger.runs.hold(task, "cto", "ack.1")
        assert ledger.runs.starting(task.task_id or "", "key", "boot") == 1
        ledger.runs.hold(task, "cto", "ack.2")
        (run,) = ledger.runs.unfinished()
        assert (run.state, run.attempt, run.ack_subject) == ("started", 1, "ack.2")


def test_an_attempt_that_the_gateway_refused_is_no_strike(path: Path) -> None:
    task = envelope()
    with Ledger(path) as ledger:
        ledger.runs.hold(task, "cto", "ack")
        ledger.runs.starting(task.task_id or "", "key", "boot")
        ledger.runs.not_started(task.task_id or "")
        assert ledger.runs.starting(task.task_id or "", "key2", "boot") == 1


def test_what_is_over_is_forgotten_after_two_months_and_nothing_else(path: Path) -> None:
    with Ledger(path) as ledger:
        done, open_task = envelope(), envelope()
        for task in (done, open_task):
            ledger.runs.hold(task, "cto", "ack")
        ledger.runs.advance(done.task_id or "", "closed")
        ledger.prune(days=-1)
        assert ledger.runs.get(done.task_id or "") is None
        assert ledger.runs.get(open_task.task_id or "") is not None


def test_a_ledger_of_a_newer_clawbus_is_refused(path: Path) -> None:
    with Ledger(path):
        pass
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(Missing, match="version 99"):
        Ledger(path)


def test_a_file_that_is_no_ledger_is_refused(path: Path) -> None:
    path.write_text("this is no database, whatever its name says" * 50)
    with pytest.raises(Missing, match="cannot be used"):
        Ledger(path)


LIFE = ("accepted", "delivered", "started", "progress", "interrupted", "retrying", "announced")


def event(number: int, kind: str, sender: str, **detail: object) -> Event:
    at = START + timedelta(seconds=number)
    return Event.model_validate(
        {"id": f"e-{number}", "kind": kind, "task_id": "a" * 26, "from": sender, "at": at, "detail": detail}
    )


def life() -> list[Event]:
    return [
        event(0, "accepted", "ceo", to="cto", label="it", priority="high"),
        event(1, "delivered", "cto"),
        event(2, "started", "cto", attempt=1),
        event(3, "interrupted", "cto", attempt=1),
        event(4, "retrying", "cto", attempt=2),
        event(5, "announced", "ceo", repeats=1),
    ]


@pytest.mark.parametrize(
    ("upto", "state"), [(1, "queued"), (2, "delivered"), (3, "running"), (4, "interrupted"), (5, "running")]
)
def test_the_board_says_where_a_task_is(upto: int, state: str) -> None:
    (view,) = fold(life()[:upto], [])
    assert (view.state, view.requester, view.worker, view.label) == (state, "ceo", "cto", "it")


@given(st.permutations(life()))
def test_the_board_does_not_depend_on_the_order_in_which_events_are_heard(events: list[Event]) -> None:
    """Execution and delivery are two things; the end wins over every event."""
    end = Envelope(id="cto-1", type="result", sender="cto", to="ceo", task_id="a" * 26, body="42", status="done")
    (view,) = fold(events, [(end, START + timedelta(seconds=9))])
    assert (view.state, view.delivery, view.attempts, view.repeats, view.result) == ("done", "announced", 2, 1, "42")


def test_a_ledger_of_version_1_is_brought_to_this_one(path: Path) -> None:
    """Mail keeps its numbers and what had been done with it; open tasks stay open."""
    old_mail, task = envelope("message", task_id=None), envelope()
    db = sqlite3.connect(path)
    db.executescript(
        """
        CREATE TABLE mail (id TEXT PRIMARY KEY, seq INTEGER NOT NULL, agent TEXT NOT NULL, envelope BLOB NOT NULL,
            state TEXT NOT NULL, ack_subject TEXT NOT NULL, received_at TEXT NOT NULL);
        CREATE INDEX mail_by_agent ON mail (agent, state, seq);
        CREATE TABLE sent (task_id TEXT PRIMARY KEY, agent TEXT NOT NULL, task BLOB NOT NULL,
            session_key TEXT NOT NULL, kind TEXT NOT NULL, announce TEXT NOT NULL DEFAULT 'none', result BLOB,
            keys TEXT NOT NULL DEFAULT '[]', boot_id TEXT NOT NULL DEFAULT '', created_at TEXT NOT NULL);
        CREATE TABLE runs (task_id TEXT PRIMARY KEY, worker TEXT NOT NULL, task BLOB NOT NULL, state TEXT NOT NULL,
            ack_subject TEXT NOT NULL, attempt INTEGER NOT NULL DEFAULT 0, key TEXT NOT NULL DEFAULT '',
            boot_id TEXT NOT NULL DEFAULT '', outcome BLOB, updated_at TEXT NOT NULL);
        PRAGMA user_version = 1;
        """
    )
    for number, state in ((3, "acked"), (7, "unread")):
        row = (f"m-{number}", number, "cto", old_mail.encode(), state, f"ack.{number}", START.isoformat())
        db.execute("INSERT INTO mail VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    opened = (task.task_id or "", "ceo", task.encode(), "agent:ceo:main", "spawn", START.isoformat())
    db.execute(
        "INSERT INTO sent (task_id, agent, task, session_key, kind, created_at) VALUES (?, ?, ?, ?, ?, ?)", opened
    )
    db.commit()
    db.close()
    for _ in range(2):
        with Ledger(path) as ledger:
            (mail,) = ledger.mail.waiting("cto", 10)
            assert (mail.number, mail.seq, mail.channel, mail.ack_subject) == (7, 7, "dm", "ack.7")
            assert ledger.mail.find("cto", 3) is not None
            assert ledger.runs.unfinished() == []
            assert [one.task_id for one in ledger.sent.together_with(task.task_id or "")] == [task.task_id]


def test_what_is_said_in_a_turn_for_mail_has_been_passed_on_once_more(path: Path) -> None:
    """A session's cause is the message of its latest turn that was passed on most; of a task's session, its task."""
    with Ledger(path) as ledger:
        letter = envelope("message", task_id=None, hops=3, id="ceo-letter")
        mail = ledger.mail.add(letter, "cto", 1)
        session = "agent:cto:nats:from-ceo"
        assert ledger.cause(session) is None
        wake = ledger.wakes.add("cto", session)
        ledger.mail.give_to(wake.number, [mail])
        assert ledger.cause(session) == letter
        assert ledger.cause("agent:cto:main") is None
        task = envelope(hops=1)
        ledger.runs.hold(task, "cto", "ack")
        session = f"agent:cto:nats:{task.task_id}"
        assert ledger.cause(session) == task
        answer = ledger.mail.add(envelope("message", hops=5, id="ceo-answer"), "cto", 2)
        ledger.mail.give_to(ledger.wakes.add("cto", session).number, [answer])
        assert (ledger.cause(session) or task).hops == 6


def test_what_a_turn_for_mail_has_spawned_goes_by_the_message_of_that_turn(path: Path) -> None:
    """Whatever comes into the same session later; and what was begun between two turns was begun by the first."""
    with Ledger(path) as ledger:
        session = "agent:cto:nats:from-ceo"
        letters = [envelope("message", task_id=None, id=f"ceo-{number}") for number in range(2)]
        wakes, between = [], []
        for number, letter in enumerate(letters):
            wakes.append(ledger.wakes.add("cto", session).number)
            ledger.mail.give_to(wakes[-1], [ledger.mail.add(letter, "cto", number + 1)])
            between.append(datetime.now(UTC))
        assert [ledger.wakes.latest(session, at) for at in (START, *between, None)] == [None, *wakes, wakes[1]]
        ledger.spawned_sessions.add("agent:cto:subagent:1", session, wakes[0])
        ledger.spawned_sessions.add("agent:cto:subagent:1", session, wakes[1])
        assert ledger.cause("agent:cto:subagent:1") == letters[0]
        assert ledger.cause(session) == letters[1]


def test_a_ledger_of_version_3_forgets_whose_sub_agents_it_has_seen(path: Path) -> None:
    """It did not say of which turn; the gateway is asked again."""
    with Ledger(path):
        pass
    db = sqlite3.connect(path)
    db.executescript(
        """
        DROP TABLE descents;
        CREATE TABLE descents (session_key TEXT PRIMARY KEY, root TEXT NOT NULL, seen_at TEXT NOT NULL);
        INSERT INTO descents VALUES ('agent:cto:subagent:1', 'agent:cto:nats:from-ceo', '2026');
        PRAGMA user_version = 3;
        """
    )
    db.close()
    for _ in range(2):
        with Ledger(path) as ledger:
            assert ledger.spawned_sessions.of("agent:cto:subagent:1") is None
            ledger.spawned_sessions.add("agent:cto:subagent:2", "agent:cto:nats:from-ceo", 7)
            assert ledger.spawned_sessions.of("agent:cto:subagent:2") == SpawnedSession("agent:cto:nats:from-ceo", 7)


def test_tasks_of_a_group_are_found_by_any_of_them(path: Path) -> None:
    with Ledger(path) as ledger:
        together, alone = [envelope(), envelope()], envelope()
        for task in together:
            ledger.sent.add(task, "agent:ceo:main", "spawn", "group")
        ledger.sent.add(alone, "agent:ceo:main", "spawn")
        for task in together:
            found = ledger.sent.together_with(task.task_id or "")
            assert [one.task_id for one in found] == [one.task_id for one in together]
        assert [one.task_id for one in ledger.sent.together_with(alone.task_id or "")] == [alone.task_id]
        assert ledger.sent.together_with("a" * 26) == []
