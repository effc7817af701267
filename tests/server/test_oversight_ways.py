"""Ways around a person's word that are none: redrives, moves, rules beside each other, two decisions at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from clawbus.client.approvals import decide
from clawbus.errors import InvalidInput, NotFound, Refused
from clawbus.org import load
from clawbus.tasks import NewTask, make_task
from clawbus.tasks.dead_letters import DeadLetters
from clawbus.wire.subjects import new_message_id
from tests.company import Live, free_ports, live, until
from tests.server.office import as_signed, clawbus
from tests.server.test_oversight import TOML, asked, at_work, end_of, give, mail_for, say, shop

__all__ = ["shop"]
TWICE = """
[[oversight]]
agent = "ops"
level = "ask_report"
human = "owner"
[[oversight]]
agent = "ops"
level = "told"
human = "owner"
"""
POOLED = """
[[pools]]
id = "pair"
members = ["qa"]
[[oversight]]
from = "ceo"
to = "pair"
level = "ask_dispatch"
"""


async def test_k9_a_redriven_task_is_asked_about_as_it_was_before(shop: Live) -> None:
    """The steward gives it again: the rule of the edge is that of who had asked in the beginning."""
    task = make_task(shop.org, "ceo", NewTask("writer", "the press release"))
    async with shop.company.connect("gw-shop") as bus:
        await bus.publish("acme.tasks.writer.medium.ceo", task.encode(), msg_id=task.id)
        signed = await as_signed(shop, task)
        end = task.model_copy(
            update={"id": new_message_id("writer"), "type": "result", "sender": "writer", "to": "ceo",
                    "status": "dead", "body": "it died"}
        )  # fmt: skip
        await DeadLetters(bus, shop.company.subjects).before(end, task, "writer", signed)
        await shop.company.ends(bus).write(end, "ceo", "writer")
    async with at_work(shop):
        code, said = await clawbus(shop, "dead", "redrive", task.task_id or "")
        assert code == 0, said
        question = await asked(shop, said["redriven_as"])
    assert (question.side, question.agent) == ("report", "writer")


async def test_k9_rules_of_several_levels_for_one_agent_all_count(tmp_path: Path) -> None:
    """Asked before the start by the one rule, before the report by the other; and the person hears of it."""
    async with live(tmp_path, None, toml=TOML.format(port=free_ports(1)[0]) + TWICE) as company, at_work(company):
        task_id = await give(company, "ops", "restart it")
        assert (await asked(company, task_id)).side == "dispatch"
        await say(company, task_id, True)

        async def of_report() -> bool:
            return (await asked(company, task_id)).side == "report"

        await until(of_report, "the question about the report", 20)
        await say(company, task_id, True)
        assert (await end_of(company, task_id, "ops")).status == "done"

        async def told() -> bool:
            return any("ceo gave ops task" in text for text in await mail_for(company, "owner"))

        await until(told, "the owner to be told", 10)


async def test_k9_a_rule_of_the_edge_to_a_pool_is_not_hidden_by_its_members_own(tmp_path: Path) -> None:
    """qa is only told of; what the CEO gives to the pool is asked about all the same."""
    toml = TOML.format(port=free_ports(1)[0]) + POOLED
    async with live(tmp_path, None, toml=toml) as company, at_work(company) as begun:
        task_id = await give(company, "pair", "run the checks")
        assert (await asked(company, task_id)).side == "dispatch"
        assert begun == []


def test_rules_that_contradict_each_other_are_mistakes(tmp_path: Path) -> None:
    file = tmp_path / "org.toml"
    for more, problem in (
        ('agent = "ops"\nlevel = "ask_dispatch"\n', "a second rule of that level"),
        ('agent = "ops"\nlevel = "none"\n', "another rule says otherwise"),
        ('from = "ceo"\nto = "writer"\nlevel = "ask_report"\n', "a second rule of that level"),
    ):
        file.write_text(TOML.format(port=4222) + "[[oversight]]\n" + more)
        with pytest.raises(Exception, match=problem):
            load(file)
    file.write_text(TOML.format(port=4222) + TWICE)
    load(file)


async def test_k9_of_two_people_who_decide_at_once_the_second_hears_that_he_was(shop: Live) -> None:
    """The first word counts; who comes second is not told that his did."""
    async with at_work(shop):
        task_id = await give(shop, "ops", "sell the old chair")
        await asked(shop, task_id)
        async with (
            shop.company.connect_person("owner") as (one, owner),
            shop.company.connect_person("boss") as (two, boss),
        ):
            said = await asyncio.gather(
                decide(one, shop.company, owner, task_id, approved=True),
                decide(two, shop.company, boss, task_id, approved=False),
                return_exceptions=True,
            )
        (late,) = [str(one) for one in said if isinstance(one, Refused)]
        end = await end_of(shop, task_id, "ops")
    if end.status == "done":
        assert late.startswith("owner has approved it a moment before")
    else:
        assert late.startswith("boss has refused it a moment before")


async def test_a_code_that_fits_no_question_is_said_to_fit_none(shop: Live) -> None:
    async with at_work(shop):
        task_id = await give(shop, "ops", "sell the old chair")
        question = await asked(shop, task_id)
        async with shop.company.connect_person("owner") as (bus, me):
            with pytest.raises(InvalidInput, match="no question about it has this code"):
                await decide(bus, shop.company, me, task_id, approved=True, code="0" * 8)
            await decide(bus, shop.company, me, task_id, approved=True, code=question.code)
            with pytest.raises(NotFound, match="owner has approved it already"):
                await decide(bus, shop.company, me, task_id, approved=True)
