"""Chains: what follows when a task is done, on a real nats-server; the agents' hands are the test's."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbus.errors import Refused
from clawbus.org import EXTERNAL, STEWARD, Edge, parse
from clawbus.steward.duties.chain_steps import ChainSteps
from clawbus.tasks import NewTask, make_task
from clawbus.tasks.chains import edge_for, next_body
from clawbus.tasks.ends import End
from clawbus.wire.channels import TASKS
from clawbus.wire.envelope import MAX_BODY_BYTES, Envelope, OnComplete
from clawbus.wire.events import Event, Value
from clawbus.wire.subjects import given_id
from tests.company import Live, until
from tests.server.office import HQ, SEC, announce, events_of, give, mail_of, office, office_toml, steward, stored, work

EDGE = """
[[edges]]
from = "cto"
to = "security"
name = "security_review"
template = "Review what {worker} did for {requester}: {task} -> {result}"
"""
THEN = OnComplete(to="security", template="security_review")


async def chained(company: Live, task: Envelope) -> dict[str, Value]:
    """What the steward decided on the first task."""

    async def look() -> dict[str, Value] | None:
        return next((dict(e.detail) for e in await events_of(company, task.task_id or "", "chained")), None)

    return await until(look, "the decision")


async def waiting(company: Live, to: str = "security") -> list[Envelope]:
    return await stored(company, TASKS, company.company.subjects.filter("tasks", to=to, priority="*"))


async def test_g2_the_next_task_begins_when_the_first_is_done(tmp_path: Path) -> None:
    """Text by the edge's template, read once; parent, trace, hops and path go on; the result reaches who began."""
    async with office(tmp_path, EDGE) as company, steward(company):
        first = await give(company, NewTask("cto", "rate limits", "limits", "high", then=THEN))
        await work(company, "done in {task}.py")
        decided = await chained(company, first)
        following = await work(company, "no holes found", key=SEC)
        assert decided == {"to": "security", "started": True, "task": following.task_id}
        assert (following.sender, following.to, following.parent) == (STEWARD, "security", first.task_id)
        assert (following.trace_id, following.hops, following.path) == (first.trace_id, 1, ("ceo",))
        assert following.priority == "high"
        assert following.body.startswith(f"Given on behalf of ceo, after task {first.task_id} of cto.")
        assert following.body.endswith("Review what cto did for ceo: rate limits -> done in {task}.py")
        result = await mail_of(company, "ceo", type="result", task_id=following.task_id)
        assert (result.sender, result.parent, result.status) == (STEWARD, first.task_id, "done")
        assert result.body.startswith(f"security took over after cto, who had done task {first.task_id}.")
        assert result.body.endswith("no holes found")
        assert following.on_complete is None


async def test_g2_only_edges_that_org_toml_names(tmp_path: Path) -> None:
    """A requester's own node refuses the rest before anything is sent; the steward looks again at what is on the bus."""
    async with office(tmp_path, EDGE) as company, steward(company):
        for to, then in (("cto", OnComplete(to="ceo")), ("security", OnComplete(to="cto"))):
            with pytest.raises(Refused, match="names no edge"):
                make_task(company.org, "owner", NewTask(to, "x", then=then))
        task = make_task(company.org, "ceo", NewTask("security", "sneak"))
        forged = task.model_copy(update={"on_complete": OnComplete(to="cto")})
        async with company.company.connect(HQ) as bus:
            await bus.publish(
                company.company.subjects.task("security", "medium", "ceo"), forged.encode(), msg_id=forged.id
            )
        await announce(company, forged)
        await work(company, key=SEC)
        decided = await chained(company, forged)
        assert decided["started"] is False
        assert decided["why"] == "org.toml names no edge from security to cto"
        note = await mail_of(company, "ceo", parent=forged.task_id)
        assert "cto does not take over" in note.body
        assert await waiting(company, "cto") == []


async def test_g2_an_end_that_is_not_done_starts_nothing_and_says_so(tmp_path: Path) -> None:
    """A failed task is nobody's reason to go on."""
    async with office(tmp_path, EDGE) as company, steward(company):
        first = await give(company, NewTask("cto", "rate limits", then=THEN))
        await work(company, "could not", "failed")
        assert await chained(company, first) == {"to": "security", "started": False, "why": "cto ended it as failed"}
        assert await waiting(company) == []


async def test_g2_two_stewards_chain_once(tmp_path: Path) -> None:
    """Both may see the end; there is one next task, and one result."""
    async with office(tmp_path, EDGE) as company, steward(company), steward(company):
        for number in range(3):
            first = await give(company, NewTask("cto", str(number), then=THEN))
            await work(company)
            await chained(company, first)
        assert len({task.parent for task in await waiting(company)}) == len(await waiting(company)) == 3


async def test_g2_a_requester_that_was_dead_says_late_what_it_gave(tmp_path: Path) -> None:
    """Its node had published the task and died before the event: the chain goes on when the event is there."""
    async with office(tmp_path, EDGE) as company, steward(company):
        first = await give(company, NewTask("cto", "rate limits", then=THEN), say=False)
        await work(company, "done")
        other = await give(company, NewTask("cto", "another", then=THEN))
        await work(company, "done")
        await chained(company, other)  # so the steward has passed the end of the first
        assert len(await waiting(company)) == 1
        await announce(company, first)
        assert (await chained(company, first))["started"] is True


async def test_g2_an_edge_that_goes_on_makes_a_longer_chain(tmp_path: Path) -> None:
    """CTO, then Security, then the CEO: and each result comes to who gave the first task."""
    more = EDGE + 'then = "ceo"\n[[edges]]\nfrom = "security"\nto = "ceo"\n'
    async with office(tmp_path, more) as company, steward(company):
        first = await give(company, NewTask("cto", "rate limits", then=THEN), "owner", "me-owner")
        await work(company, "built")
        second = await work(company, "reviewed", key=SEC)
        third = await work(company, "released", key=HQ)
        assert (third.parent, third.hops, third.path) == (second.task_id, 2, ("owner", STEWARD))
        assert "reviewed" in third.body
        for task, said in ((second, "reviewed"), (third, "released")):
            result = await mail_of(company, "owner", task_id=task.task_id)
            assert result.parent == first.task_id
            assert said in result.body


async def test_g2_a_full_queue_delays_the_chain_and_does_not_break_it(tmp_path: Path) -> None:
    """The steward's quota holds for chains; what found no room comes when there is some."""
    async with office(tmp_path, EDGE, head="policies.quota = 1") as company, steward(company) as one:
        firsts = []
        for number in range(2):
            firsts.append(await give(company, NewTask("cto", str(number), then=THEN)))
            await work(company)
        await chained(company, firsts[0])

        async def delayed() -> bool:
            return firsts[1].task_id in await one.context.timer_keys("chains")

        await until(delayed, "a timer for the second")
        assert (await work(company, key=SEC)).parent == firsts[0].task_id
        await one.context.at("chains", firsts[1].task_id or "", firsts[1].created_at, {"requester": "ceo"})  # now
        assert (await work(company, key=SEC)).parent == firsts[1].task_id


async def test_a_guest_that_starts_a_chain_stays_unverified(tmp_path: Path) -> None:
    """The next agent reads that nobody knows who asked."""
    async with office(tmp_path, EDGE) as company, steward(company):
        first = make_task(company.org, "ceo", NewTask("cto", "let me in", then=THEN)).model_copy(
            update={"sender": EXTERNAL, "id": "external-1", "seed": "a" * 26, "task_id": given_id(EXTERNAL, "a" * 26)}
        )
        async with company.company.connect("steward") as bus:
            subject = company.company.subjects.task("cto", "medium", EXTERNAL)
            await bus.publish(subject, first.encode(), msg_id=first.id)
        await announce(company, first, "steward")
        await work(company)
        assert (await work(company, key=SEC)).body.startswith(
            "Given on behalf of external (a guest who is not verified)"
        )


async def test_who_ends_his_own_task_starts_no_chain(tmp_path: Path) -> None:
    """A requester may end what he gave; that is not the work that the chain waits for."""
    async with office(tmp_path, EDGE) as company, steward(company):
        first = await give(company, NewTask("cto", "rate limits", then=THEN))
        end = Envelope(
            id="ceo-end", type="result", sender="ceo", to="ceo", task_id=first.task_id, status="done", body="trust me"
        )
        async with company.company.connect(HQ) as bus:
            await company.company.ends(bus).write(end, "ceo", "cto")
        assert "had no part in it" in str((await chained(company, first))["why"])


def test_an_edge_from_a_pool_is_its_own_or_that_of_each_who_may_take_it() -> None:
    """Before anybody has taken it every member must have it; then the one who has."""
    data = tomllib.loads(office_toml('[[pools]]\nid = "builders"\nmembers = ["cto", "ceo"]\n' + EDGE))
    org, then = parse(data), OnComplete(to="security")
    assert edge_for(org, "builders", then) is None
    assert edge_for(org, "builders", then, "cto") is not None
    assert edge_for(org, "builders", then, "ceo") is None
    data["edges"].append({"from": "builders", "to": "security"})
    assert edge_for(parse(data), "builders", then) is not None
    assert edge_for(parse(data), "builders", then, "ceo") is not None


@given(st.text(), st.text(), st.text())
def test_words_are_put_in_once_and_nothing_else_is_read(task: str, label: str, result: str) -> None:
    """Whatever the words say, `{result}` in them included, they stand there as they are; no attribute is looked up."""
    edge = Edge.model_validate(
        {"from": "cto", "to": "security", "template": "<{task}|{label}|{result}|{worker.__class__}>"}
    )
    words = {"worker": "cto", "requester": "ceo", "task": task, "label": label}
    assert next_body(edge, words, result) == f"<{task}|{label}|{result}|{{worker.__class__}}>"


def test_a_result_that_does_not_fit_is_cut_where_it_shows() -> None:
    """The next task stays within what a task may hold."""
    edge = Edge.model_validate({"from": "cto", "to": "security"})
    words = {"worker": "cto", "requester": "ceo", "task": "é" * 8000, "label": ""}
    text = next_body(edge, words, "x" * 500_000)
    assert len(text.encode()) <= MAX_BODY_BYTES
    assert "of 500000 bytes]" in text


async def test_who_has_left_a_pool_since_had_his_part_in_its_task(tmp_path: Path) -> None:
    """The requester has said who its members were when he gave it."""
    async with office(tmp_path, EDGE) as company, steward(company) as one:
        duty = next(duty for duty in one.duties if isinstance(duty, ChainSteps))
        detail: dict[str, Value] = {"to": "pair", "takers": "cto gone"}
        said = Event(id="ceo-1", kind="accepted", task_id="a" * 26, sender="ceo", detail=detail)

        def refusal(by: str) -> str:
            text = Envelope(id="x", type="result", sender=by, to="ceo", task_id=said.task_id, status="done", body="x")
            return duty._refusal(said, End(text, 1, said.at), THEN, company.org.edges[0])

        assert (refusal("gone"), refusal("cto")) == ("", "")
        assert "had no part in it" in refusal("security")
