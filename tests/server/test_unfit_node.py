"""A node whose gateway fails every turn of one of its agents: nothing begins for that one, and all others go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clawbus.client.company import who_is_online
from clawbus.gateway import GatewayRpc
from clawbus.gateway.fitness import IN_A_ROW
from clawbus.node import Node
from clawbus.node.ledger import Ledger
from clawbus.tasks.halt import Halt
from clawbus.wire.envelope import Envelope
from clawbus.wire.subjects import new_message_id
from tests.company import Live, free_ports, live, until
from tests.pure.test_fitness import event, falls
from tests.server.test_waker_pause import TOML


@pytest.fixture
async def hq(tmp_path: Path) -> AsyncIterator[tuple[Live, Node, Ledger]]:
    """The node of three agents; no gateway is there: each call ends as one that was lost in that moment."""
    async with live(tmp_path, None, toml=TOML.format(*free_ports(2))) as company:
        with Ledger(company.home.ledger("hq")) as ledger:
            async with company.company.connect("gw-hq") as bus:
                halt = Halt(bus, company.org)
                rpc = GatewayRpc(company.org.gateway("hq").port, tmp_path / "none", halt.check)
                rpc.ready.set()
                yield company, Node(company.org, "hq", bus, rpc, ledger, halt), ledger


def fall(node: Node, agent: str) -> None:
    """Its turns fail, one after the other."""
    for number in range(IN_A_ROW):
        for one in falls(f"{agent}{number}", 10 * number + 1, 10 * number + 2):
            node._rpc.runs.on_event("agent", one | {"agentId": agent, "sessionKey": f"agent:{agent}:nats:t"})


async def test_nothing_begins_for_an_unfit_agent_and_all_for_the_others(hq: tuple[Live, Node, Ledger]) -> None:
    """Its tasks are given back, so that a pool gives them to another; its mail waits, and keeps nobody's place."""
    _, node, ledger = hq
    await node.halt.read()
    fall(node, "dev")
    assert node.mail_turns._permit.barred() == {"dev"}
    executor = node.worker._executor
    assert [executor.barred(agent) for agent in ("dev", "ops", "ceo")] == [True, False, False]
    assert [node.worker._groups.choose(_task(to), executor.barred) for to in ("dev", "ops")] == [None, "ops"]
    mail_turns = asyncio.create_task(node.mail_turns.run())
    for seq, agent in enumerate(("dev", "ops"), 1):
        said = {"id": new_message_id("owner"), "type": "message", "from": "owner", "to": agent, "body": "x"}
        ledger.mail.add(Envelope.model_validate(said), agent, seq, asks="now")
        node.mail_turns.look()

    async def its_turn() -> bool:
        return bool(ledger.wakes.unfinished())

    await until(its_turn, "a turn for the mail of the other", 10)
    assert {wake.agent for wake in ledger.wakes.unfinished()} == {"ops"}
    mail_turns.cancel()
    await asyncio.gather(mail_turns, return_exceptions=True)


async def test_its_presence_says_it_until_a_turn_comes_to_its_model(hq: tuple[Live, Node, Ledger]) -> None:
    company, node, _ = hq
    await node.halt.read()
    speaking = asyncio.create_task(node._presence.run())
    async with company.owner() as bus:

        async def unwell() -> set[str]:
            roster = await who_is_online(bus, company.company)
            assert roster.has_heard(["dev"])
            return {agent for agent in ("ceo", "dev", "ops") if roster.unwell(agent) and not roster.online(agent)}

        async def well() -> bool:
            return await unwell() == set()

        await until(well, "the presence of all", 10)
        fall(node, "dev")
        assert await until(unwell, "the word about dev", 10) == {"dev"}
        sign = event("k", "run_status", phase="starting_model") | {"agentId": "dev"}
        node._rpc.runs.on_event("agent", sign)
        await until(well, "the word that it is well", 10)
    speaking.cancel()
    await asyncio.gather(speaking, return_exceptions=True)


async def test_a_turn_that_is_being_ended_calls_no_tool(hq: tuple[Live, Node, Ledger]) -> None:
    """Its abort waits until the model was asked; what that model then wants is not done."""
    _, node, ledger = hq
    await node.halt.read()
    ledger.runs.hold(_task("dev"), "dev", "ack")
    session = f"agent:dev:nats:{_TASK}"
    assert (await node.gate.may(session, "exec")).ok
    with node._rpc.runs.ending(session):
        answer = await node.gate.may(session, "exec")
        assert (answer.ok, answer.text) == (False, "this turn is being ended. Do not try again: end your turn.")
    assert (await node.gate.may(session, "exec")).ok


_TASK = "a" * 26


def _task(to: str) -> Envelope:
    said = {"id": new_message_id("ceo"), "type": "task", "from": "ceo", "to": to, "task_id": _TASK, "body": "x"}
    return Envelope.model_validate(said)
