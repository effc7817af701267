"""What a sub-agent may use is what the turn has that spawned it, also when its session is in another turn by now."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from clawbus.gateway import GatewayRpc
from clawbus.node.ledger import Ledger
from clawbus.node.tools.call_gate import CallGate
from clawbus.org import Org, parse
from clawbus.org.tool_bounds import bound_of
from clawbus.wire.envelope import Envelope
from clawbus.wire.subjects import new_message_id, new_task_id

SESSION = "agent:dev:nats:digest"
CHILD, GRANDCHILD = "agent:dev:subagent:1", "agent:dev:subagent:2"


@pytest.fixture
def org() -> Org:
    agents = [{"id": "ceo", "role": "role-ceo", "gateway": "hq"}, {"id": "dev", "gateway": "hq"}]
    return parse({"company": "acme", "gateways": [{"id": "hq", "port": 20001}], "agents": agents})


def turn(ledger: Ledger, tools: tuple[str, ...] | None) -> int:
    """A turn for mail that is bounded so begins."""
    mail = Envelope(
        id=new_message_id("ceo"), type="message", sender="ceo", to="dev", trace_id=new_task_id(), body="x", tools=tools
    )
    wake = ledger.wakes.add("dev", SESSION)
    ledger.mail.give_to(wake.number, [ledger.mail.add(mail, "dev", wake.number, asks="now")])
    return wake.number


async def test_n3_a_sub_agent_keeps_the_bound_of_its_turn_when_the_next_begins(tmp_path: Path, org: Org) -> None:
    """In either direction, at any remove, and in what it gives away."""
    with Ledger(tmp_path / "ledger.db") as ledger:
        gate = CallGate(org, ledger, GatewayRpc(1, tmp_path / "none"), lambda _agent: None)
        first = turn(ledger, ("read", "sessions_spawn"))
        assert not (await gate.may(SESSION, "exec")).ok
        ledger.spawned_sessions.add(CHILD, SESSION, first)
        second = turn(ledger, None)
        ledger.spawned_sessions.add(GRANDCHILD, SESSION, second)
        assert (await gate.may(SESSION, "exec")).ok
        turn(ledger, ())
        allowed = {
            (key, tool): (await gate.may(key, tool)).ok for key in (CHILD, GRANDCHILD) for tool in ("read", "exec")
        }
        causes = [ledger.cause(key) for key in (CHILD, GRANDCHILD)]
    assert allowed == {
        (CHILD, "read"): True,
        (CHILD, "exec"): False,
        (GRANDCHILD, "read"): True,
        (GRANDCHILD, "exec"): True,
    }
    assert [one and bound_of(org, one) for one in causes] == [("read", "sessions_spawn"), None]


async def test_n3_of_two_turns_the_one_counts_in_which_it_was_spawned(tmp_path: Path, org: Org) -> None:
    """It calls its first tool when the next turn has begun: the gateway's entry says when it was made."""
    with Ledger(tmp_path / "ledger.db") as ledger:
        first = turn(ledger, ("read",))
        spawned = datetime.now(UTC)
        second = turn(ledger, None)
        assert (ledger.wakes.latest(SESSION, spawned), ledger.wakes.latest(SESSION)) == (first, second)
        assert ledger.wakes.latest(SESSION, datetime(2026, 1, 1, tzinfo=UTC)) is None


async def test_n3_a_sub_agent_of_a_turn_that_is_not_known_may_nothing(tmp_path: Path, org: Org) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        gate = CallGate(org, ledger, GatewayRpc(1, tmp_path / "none"), lambda _agent: None)
        turn(ledger, None)
        ledger.spawned_sessions.add(CHILD, SESSION, None)
        assert not (await gate.may(CHILD, "read")).ok
