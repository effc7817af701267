"""Whoever is refused again and again is answered ever later, and nobody else."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from clawbus.node.tools.answer import Answer
from clawbus.node.tools.backoff import AT_ONCE, QUIET_S, Backoff
from tests.server.office import office

NO = Answer(False, "backlog full")


class Clock:
    """Time that passes only by waiting."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.waits.append(round(seconds, 6))
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def refuse(backoff: Backoff, times: int, agent: str = "mad") -> list[Answer]:
    return [await backoff.refused(agent, NO) for _ in range(times)]


async def test_the_first_refusals_are_answered_at_once_and_each_further_one_later(clock: Clock) -> None:
    answers = await refuse(Backoff(clock, clock.sleep), AT_ONCE + 12)
    assert clock.waits == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.0, 1.0]
    assert {one.text for one in answers[:AT_ONCE]} == {"backlog full"}
    assert answers[AT_ONCE].text.startswith(f"backlog full\nThis is refusal {AT_ONCE + 1} in a row")
    assert "Wait a minute before you try again." in answers[-1].text
    assert not any(one.ok for one in answers)


async def test_what_is_taken_and_a_minute_of_quiet_begin_anew(clock: Clock) -> None:
    backoff = Backoff(clock, clock.sleep)
    await refuse(backoff, AT_ONCE)
    backoff.taken("mad")
    await refuse(backoff, AT_ONCE)
    clock.now += QUIET_S
    await refuse(backoff, AT_ONCE)
    assert clock.waits == []
    await refuse(backoff, 1)
    assert clock.waits == [0.1]


async def test_each_agent_is_counted_for_itself(clock: Clock) -> None:
    backoff = Backoff(clock, clock.sleep)
    await refuse(backoff, AT_ONCE + 20)
    del clock.waits[:]
    await refuse(backoff, AT_ONCE, "other")
    assert clock.waits == []


async def test_a_call_that_waits_holds_up_no_other_and_ends_with_its_connection() -> None:
    """The sleep is never over here: a second agent is answered all the same, and the one that waits can be ended."""
    waiting = asyncio.Event()

    async def sleep(_seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    backoff = Backoff(sleep=sleep)
    await refuse(backoff, AT_ONCE)
    late = asyncio.create_task(backoff.refused("mad", NO))
    await waiting.wait()
    assert await backoff.refused("other", NO) == NO
    late.cancel()
    with pytest.raises(asyncio.CancelledError):
        await late


async def test_a_node_slows_who_is_refused_whatever_he_calls(tmp_path: Path) -> None:
    """Over the socket: wrong parameters, an unknown name, a group of which none goes. What is read in between counts
    for nothing, what is taken begins anew; another agent of the same node is answered as ever."""
    async with office(tmp_path) as company:
        await company.start("node-hq")
        calls: list[tuple[str, dict[str, Any]]] = [
            ("nats_pub", {"to": "cto"}),
            ("nats_pub", {"to": "nobody-here", "message": "hey"}),
            ("nats_spawn", {"tasks": [{"agentId": "ceo", "task": "x"}, {"agentId": "ceo", "task": "y"}]}),
        ]
        texts = []
        for number in range(AT_ONCE + 1):
            tool, params = calls[number % len(calls)]
            answer = await company.tool("hq", "ceo", tool, **params)
            assert not answer["ok"]
            texts.append(answer["text"])
            assert (await company.tool("hq", "ceo", "nats_org"))["ok"]
        assert ["in a row" in text for text in texts] == [False] * AT_ONCE + [True]
        assert (await company.tool("hq", "ceo", "nats_pub", to="cto", message="hey"))["ok"]
        again = await company.tool("hq", "ceo", "nats_pub", to="cto")
        assert "in a row" not in again["text"]
