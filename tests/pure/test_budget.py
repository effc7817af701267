"""The budget of a tree of tasks, as a pure function of its records."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbus.errors import InvalidInput, WireError
from clawbus.tasks.budget import Record, Tree, decode_record, narrowed, read_budget
from clawbus.wire.envelope import Budget

ORG = Budget(turns=5, minutes=10, tokens=1000)
T = [letter * 26 for letter in "abcdefghij"]


def tree(*records: tuple[str, Record]) -> Tree:
    found = Tree(T[0])
    for sender, record in records:
        found.add(record, sender, {"owner"}, lambda to: (to,))
    return found


def reserved(task: str, to: str = "cto", **more: object) -> Record:
    return Record(kind="reserved", task=task, to=to, turns=1, **more)


def test_each_reservation_is_a_turn_whatever_it_claims() -> None:
    """A record that says 0 turns, or 50, is one; saying it twice changes nothing."""
    one = Record(kind="reserved", task=T[0], to="cto", turns=0)
    other = Record(kind="reserved", task=T[1], to="cto", turns=50)
    assert tree(("ceo", one), ("ceo", one), ("ceo", other)).used["turns"] == 2


def test_only_who_may_have_done_it_says_what_it_took() -> None:
    """Nobody uses up another's budget; who says it twice is counted once, with the last he said."""
    used = Record(kind="used", task=T[0], minutes=4, tokens=300)
    found = tree(("ceo", reserved(T[0])), ("security", used), ("ceo", used))
    assert found.used == {"turns": 1, "minutes": 0, "tokens": 0}
    found.add(used, "cto", (), lambda to: (to,))
    found.add(used.model_copy(update={"minutes": 5.0}), "cto", (), lambda to: (to,))
    assert found.used == {"turns": 1, "minutes": 5, "tokens": 300}


def test_nobody_reports_what_a_turn_of_his_own_reserving_took() -> None:
    """Nobody does his own task, and of a turn for mail nothing is told: it would let him use up another's tree alone."""
    used = Record(kind="used", task=T[0], minutes=1e9, tokens=10**12)
    assert tree(("cto", reserved(T[0])), ("cto", used)).used == {"turns": 1, "minutes": 0, "tokens": 0}


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([("ceo", reserved(one)) for one in T[:4]], ""),
        ([("ceo", reserved(one)) for one in T[:5]], "5 of 5 turns"),
        ([("ceo", reserved(T[0])), ("cto", Record(kind="used", task=T[0], minutes=10))], "10 of 10 minutes"),
        ([("ceo", reserved(T[0])), ("cto", Record(kind="used", task=T[0], tokens=1200))], "1200 of 1000 tokens"),
    ],
)
def test_a_tree_is_over_by_any_of_its_measures(records: list[tuple[str, Record]], words: str) -> None:
    assert tree(*records).exceeded(ORG) == words


def test_a_task_may_narrow_and_only_a_person_may_widen() -> None:
    """What an agent writes as `raised` counts for nothing; a person's is added to every bound."""
    found = tree(("ceo", reserved(T[0], budget=Budget(turns=3))), ("cto", reserved(T[1], budget=Budget(turns=900))))
    assert found.bound(ORG)["turns"] == 3
    assert found.bound(ORG, Budget(turns=2))["turns"] == 2
    found.add(Record(kind="raised", turns=10), "cto", {"owner"}, lambda to: (to,))
    assert found.bound(ORG)["turns"] == 3
    found.add(Record(kind="raised", turns=10), "owner", {"owner"}, lambda to: (to,))
    assert found.bound(ORG, Budget(turns=2))["turns"] == 12


def test_what_was_not_sent_is_given_back_by_its_sender_only() -> None:
    """And not when somebody has worked on it: else a tree could take its own turns back."""
    release = Record(kind="released", task=T[0])
    found = tree(("ceo", reserved(T[0])), ("cto", release))
    assert found.used["turns"] == 1
    found.add(release, "ceo", (), lambda to: (to,))
    assert found.used["turns"] == 0
    worked = tree(("ceo", reserved(T[0])), ("cto", Record(kind="used", task=T[0])), ("ceo", release))
    assert worked.used["turns"] == 1
    early = tree(("ceo", reserved(T[0])), ("ceo", release), ("cto", Record(kind="used", task=T[0], minutes=3)))
    assert (early.used["turns"], early.used["minutes"]) == (1, 3)


@given(st.lists(st.tuples(st.sampled_from(["ceo", "cto", "owner", "x"]), st.builds(
    Record,
    kind=st.sampled_from(["reserved", "released", "used"]),
    task=st.sampled_from(T[:3]), to=st.sampled_from(["cto", "x"]), minutes=st.floats(0, 1e6), turns=st.integers(0, 9)))))  # fmt: skip
def test_no_record_of_others_makes_it_use_less_than_its_worked_tasks(records: list[tuple[str, Record]]) -> None:
    """Whatever is written in whatever order: each task that was reserved and worked on stays a turn."""
    found = tree(*records)
    worked = [one for one in found.tasks.values() if one.reports]
    assert found.used["turns"] >= len(worked)
    assert found.used["turns"] <= len(found.tasks)


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b'{"kind": "gift"}', b'{"kind": "used", "minutes": -1}',
                                  b'{"kind": "used", "minutes": 1e999}', b'{"kind": "reserved", "turns": 1e9}',
                                  b'{"kind": "used", "minutes": NaN}'])  # fmt: skip
def test_what_is_no_record_counts_for_nothing(data: bytes) -> None:
    with pytest.raises(WireError):
        decode_record(data)


@pytest.mark.parametrize(
    "text",
    [
        "turns",
        "turns=0",
        "turns=-1",
        "turns=1e9",
        "hours=2",
        "turns=",
        "turns=99999999999999",
        "turns=1000001",
        "minutes=999999999999",
        "turns=1 turns=2",
    ],
)
def test_a_budget_that_is_none_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(InvalidInput, match="turns=20,minutes=30"):
        read_budget("--budget", text)


def test_a_budget_is_read_as_people_write_it() -> None:
    assert read_budget("--budget", "turns=20, minutes=30") == Budget(turns=20, minutes=30)
    assert read_budget("--budget", "") is None


def test_a_child_never_has_a_wider_budget_than_its_parent() -> None:
    assert narrowed(Budget(turns=5), Budget(turns=9, minutes=3)) == Budget(turns=5, minutes=3)
    assert narrowed(None, Budget(turns=9)) == Budget(turns=9)
    assert narrowed(Budget(turns=5), None) == Budget(turns=5)
