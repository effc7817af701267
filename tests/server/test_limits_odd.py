"""Roads around the limits that were once open: each test is one of them."""

from __future__ import annotations

import dataclasses
import heapq
import time
from pathlib import Path

import pytest

from clawbus.errors import Refused
from clawbus.node import Node
from clawbus.node.mailbox import RateLimits
from clawbus.node.tools.answer import Answer, Caller
from clawbus.node.tools.call_gate import _REMEMBERED as MOST_USERS
from clawbus.tasks import NewTask, make_task
from clawbus.tasks.budget import tree_of
from clawbus.tasks.budget_account import _REMEMBERED, spend_of
from clawbus.tasks.new_message import NewMessage, make_answer, make_message
from clawbus.wire.channels import SPEND
from clawbus.wire.envelope import Envelope
from clawbus.wire.subjects import is_task_id, new_message_id, new_task_id
from tests.company import Live
from tests.server.test_odd_cases import CEO, CTO, arrived, node, said

MAIN = f"agent:{CEO}:main"


async def flood(hq: Node, count: int, tool: str, session: str = MAIN, **params: object) -> list[Answer]:
    hq.tools.backoff = type(hq.tools.backoff)(sleep=_at_once)
    return [await hq.tools.call(Caller(CEO, session), tool, params) for _ in range(count)]


async def _at_once(_seconds: float) -> None:
    return


async def test_progress_of_ones_own_task_has_a_pace(bus_only: Live, tmp_path: Path) -> None:
    """It is nobody's mail, but each is an event that the server and the stewards read."""
    async with node(bus_only, tmp_path) as (hq, _, ledger):
        task = make_task(bus_only.org, CTO, NewTask(CEO, "x"))
        ledger.runs.hold(task, CEO, "ack")
        ledger.runs.starting(task.task_id or "", "nats-1", "boot")
        session = f"agent:{CEO}:nats:{task.task_id}"
        found = await flood(hq, 70, "nats_pub", session, to=CTO, message="still at it", type="progress")
        assert [one.ok for one in found] == [True] * 60 + [False] * 10
        assert "60 words of yours for task" in found[-1].text
        assert ledger.outbox.count() == 60
        report = await hq.tools.call(Caller(CEO, session), "nats_pub", {"to": CTO, "message": "a message"})
        assert report.ok


async def test_topics_count_together_whatever_their_names(bus_only: Live, tmp_path: Path) -> None:
    """A topic's name is free, so that each message could have a pace of its own."""
    async with node(bus_only, tmp_path) as (hq, _, _ledger):
        taken = [(await flood(hq, 1, "nats_pub", to=f"topic:status.t{n}", message="x"))[0].ok for n in range(65)]
    assert taken == [True] * 60 + [False] * 5


async def test_words_to_a_task_have_a_pace(bus_only: Live, tmp_path: Path) -> None:
    """They wait in the control queue of a worker that is away, where cancels wait, too."""
    async with node(bus_only, tmp_path) as (hq, _, _ledger):
        given = await hq.tools.call(Caller(CEO, MAIN), "nats_spawn", {"agentId": CTO, "task": "x"})
        ids = [given.data["taskId"]]
        found = await flood(hq, 25, "nats_tasks", action="steer", taskIds=ids, message="faster")
        assert [one.ok for one in found] == [True] * 20 + [False] * 5
        assert "20 words to tasks of yours for cto-athena in a minute are the most" in found[-1].text
        assert (await flood(hq, 1, "nats_tasks", action="cancel", taskIds=ids))[0].ok


async def test_a_group_goes_up_to_the_quota_and_no_further(bus_only: Live, tmp_path: Path) -> None:
    """Of all priorities together: the server counts each for itself, and forgets what is running."""
    async with node(bus_only, tmp_path) as (hq, _, ledger):
        await flood(hq, 15, "nats_spawn", agentId=CTO, task="x", priority="high")
        (found,) = await flood(hq, 1, "nats_spawn", tasks=[{"agentId": CTO, "task": f"{n}"} for n in range(20)])
        assert (len(found.data["taskIds"]), found.data["refused"]) == (5, 15)
        assert found.text.count("not given to cto-athena: backlog full, 20 waiting") == 15
        assert ledger.sent.open_count(CEO, CTO) == 20


async def test_after_a_rest_one_goes_and_no_group(bus_only: Live, tmp_path: Path) -> None:
    """The breaker wants to see how one ends."""
    async with node(bus_only, tmp_path) as (hq, _, ledger):
        edge = dataclasses.replace(ledger.breakers.get(CEO, CTO), failures=3, why="failed: x", until_s=time.time() - 1)
        ledger.breakers.put(CEO, CTO, edge)
        group = [{"agentId": CTO, "task": "one"}, {"agentId": CTO, "task": "two"}]
        (refused,) = await flood(hq, 1, "nats_spawn", tasks=group)
        assert not refused.ok
        assert "of these 2 nothing was sent\nGive one, to see." in refused.text
        assert (await flood(hq, 1, "nats_spawn", agentId=CTO, task="one"))[0].ok
        (refused,) = await flood(hq, 1, "nats_spawn", agentId=CTO, task="two")
        assert "One may go at" in refused.text


async def test_mail_that_comes_again_is_not_counted_again(bus_only: Live, tmp_path: Path) -> None:
    """A lease that ran out brings all that is held: it must not use up what its sender may send now."""
    async with node(bus_only, tmp_path) as (hq, _, ledger):
        mails = [said(priority="high", trace_id=new_task_id()) for _ in range(59)]
        for _ in range(3):
            for mail in mails:
                await hq.reader.handle(arrived(bus_only, mail))
        asked = [one.asks for one in ledger.mail.fresh(CEO, 100)]
        assert (len(asked), asked.count("now")) == (59, 20)
        await hq.reader.handle(arrived(bus_only, said(body="the sixtieth")))
        assert ledger.mail.fresh(CEO, 100)[-1].envelope.body == "the sixtieth"


async def test_what_a_turn_took_may_be_said_twice(bus_only: Live, tmp_path: Path) -> None:
    """The last word counts, and nobody is suspected of having used somebody's id."""
    async with node(bus_only, tmp_path) as (hq, bus, ledger):
        task = make_task(bus_only.org, CTO, NewTask(CEO, "x"))
        ledger.runs.hold(task, CEO, "ack")
        ledger.runs.starting(task.task_id or "", "nats-1", "boot")
        run = ledger.runs.get(task.task_id or "")
        assert run is not None
        metered = hq.worker._executor._executor  # type: ignore[attr-defined]
        for _ in range(2):
            await metered._report(run)
            await hq.outbox.drain()
        assert hq.outbox.renamed == 0
        spend = spend_of(bus, bus_only.org)
        found = [await bus.next_message(SPEND, f"acme.spend.{task.trace_id}.*", 1)]
        assert found[0] is not None
        assert (await spend.tree(task.trace_id or "")).seq > found[0].seq


async def test_what_follows_from_a_word_without_a_tree_has_one_budget(bus_only: Live, tmp_path: Path) -> None:
    """The steward's words name no tree. All that an agent does because of one is in one tree, and no turn is free."""
    word = Envelope(id=new_message_id("steward"), type="message", sender="steward", to=CEO, body="look at this")
    trace = tree_of(word)
    assert is_task_id(trace)
    assert make_task(bus_only.org, CEO, NewTask(CTO, "x"), word).trace_id == trace
    first, second = (make_message(bus_only.org, CEO, NewMessage(CTO, "x"), word) for _ in range(2))
    assert {first.trace_id, second.trace_id, make_answer(bus_only.org, CEO, word, "x").trace_id} == {trace}
    async with node(bus_only, tmp_path) as (hq, bus, _):
        for trace_id in (None, "no-trace-of-ours"):
            mail = said(priority="high", trace_id=trace_id)
            await hq.reader.handle(arrived(bus_only, mail))
            assert (await spend_of(bus, bus_only.org).tree(tree_of(mail))).used["turns"] == 1


async def test_a_tree_that_was_forgotten_meanwhile_is_read_anew(bus_only: Live, tmp_path: Path) -> None:
    """As many others were looked at while one was written to as are kept: its account is not taken for an old one."""
    async with node(bus_only, tmp_path) as (_, bus, _ledger):
        mine, others = spend_of(bus, bus_only.org), spend_of(bus, bus_only.org)
        first = make_task(bus_only.org, CEO, NewTask(CTO, "x"))
        more = [make_task(bus_only.org, CEO, NewTask(CTO, "x"), first) for _ in range(2)]
        await mine.reserve(first)
        await others.reserve(more[0])
        tree = mine.tree

        async def crowded(trace: str) -> object:
            for _ in range(_REMEMBERED + 1):
                mine._tree(new_task_id())
            return await tree(trace)

        mine.tree = crowded  # type: ignore[method-assign, assignment]
        await mine.reserve(more[1])
        assert (await others.tree(first.trace_id or "")).used["turns"] == 3


async def test_the_gate_remembers_the_last_sessions_of_users_only(bus_only: Live, tmp_path: Path) -> None:
    async with node(bus_only, tmp_path) as (hq, _, _ledger):
        for number in range(MOST_USERS + 5):
            answer = await hq.gate.may(f"agent:{CEO}:main-{number}", "exec")
            assert answer.ok
        assert len(hq.gate._users) == MOST_USERS


def test_a_pace_says_what_and_when() -> None:
    pace = RateLimits(1)
    pace.check("messages", CEO, CTO)
    with pytest.raises(
        Refused, match=r"1 messages of yours for cto-athena in a minute are the most; nothing was sent\n"
    ):
        pace.check("messages", CEO, CTO)
    pace.check("messages", CTO, CEO)


def test_what_waits_on_the_bus_comes_again_when_it_may_pass() -> None:
    """A thousand messages of one sender: each is handed out a few times, not once in every minute until it passes; and no
    more than the pace allows pass in any minute."""
    now = 1000.0
    pace = RateLimits(60, lambda: now)
    due = [(now + n / 1000, n) for n in range(1000)]
    passed, looks = [], 0
    while due:
        now, number = heapq.heappop(due)
        looks += 1
        if wait_s := pace.slot_s(CEO, CTO):
            heapq.heappush(due, (now + wait_s, number))
        else:
            passed.append(now)
    assert len(passed) == 1000
    assert all(later - earlier > 59.999 for earlier, later in zip(passed, passed[60:], strict=False))
    assert passed[-1] - passed[0] < 60 * 18
    assert looks < 3000
