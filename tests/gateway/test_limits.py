"""Budgets on real gateways: tokens as the gateway tells them, and turns that results begin in a user's session."""

from __future__ import annotations

from typing import Any

import pytest

from clawbus.gateway import BusRuns
from clawbus.tasks.budget_account import spend_of
from clawbus.wire.envelope import Budget
from tests.company import Live, until
from tests.gateway.conftest import MAIN

pytestmark = [pytest.mark.gateway, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
SHARES_A_COMPANY = True


async def test_n6_the_tokens_of_a_turn_are_those_that_the_gateway_tells(duo: Live) -> None:
    """Of all model requests of the turn; with its minutes they stand in the account of its tree, and can be its bound."""
    task_id = await duo.spawn("@exec echo hello\n@reply done")
    assert (await duo.settled(task_id)).state == "done"

    async def told() -> Any:
        async with duo.owner() as bus:
            tree = await spend_of(bus, duo.org).tree(task_id)
        return tree if tree.used["tokens"] else None

    tree = await until(told, "what it took", 20)
    async with duo.rpc("lab") as rpc:
        row = (await rpc.call("sessions.describe", {"key": f"agent:cto-athena:nats:{task_id}"}))["session"]
    assert tree.used["tokens"] == row["inputTokens"] + row["outputTokens"] > 0
    assert 0 < tree.used["minutes"] < 2
    assert "tokens" in tree.exceeded(Budget(tokens=int(tree.used["tokens"])))


async def test_n3_a_result_in_a_users_session_goes_on_with_its_tree(duo: Live) -> None:
    """While the turn runs that a result has begun, the node knows it by the gateway's events; in a user's it is over."""
    seen: list[dict[str, str]] = []
    turns: dict[str, str] = {}
    begun = BusRuns(turns)

    def listen(name: str, payload: dict[str, Any]) -> None:
        begun(name, payload)
        seen.append(dict(turns))

    async with duo.rpc("hq") as rpc:
        with rpc.listening(listen):
            task_id = await duo.spawn("@reply the answer")
            await duo.settled(task_id)

            async def over() -> bool:
                return bool(seen) and not turns and any(MAIN in one for one in seen)

            await until(over, "the turn of the result", 30)
    runs = {one[MAIN] for one in seen if MAIN in one}
    assert len(runs) == 1
    assert all(run.startswith("nats-") for run in runs)
