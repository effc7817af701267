"""What wakes an agent: one table, and a pure function that keeps to it."""

from __future__ import annotations

import pytest

from clawbus.org import Org, parse
from clawbus.tasks.wake_rules import MAX_HOPS, wakes
from clawbus.wire.envelope import Envelope
from clawbus.wire.subjects import new_task_id


@pytest.fixture(scope="module")
def org() -> Org:
    return parse(
        {
            "company": "acme",
            "gateways": [{"id": "hq", "port": 20001}],
            "agents": [
                {"id": "ceo", "gateway": "hq"},
                {
                    "id": "cto",
                    "gateway": "hq",
                    "reports_to": "ceo",
                    "subscriptions": [{"topic": "status.deploy", "wake": True}, "decisions.*", "tasks.python"],
                },
            ],
        }
    )


def mail(kind: str = "message", priority: str = "medium", to: str = "cto", hops: int = 0) -> Envelope:
    said = {"id": "ceo-1", "type": kind, "from": "ceo", "to": to, "body": "x", "priority": priority, "hops": hops}
    return Envelope.model_validate(said | {"task_id": new_task_id()})


TABLE = [
    # channel, message, what it asks for
    ("dm", mail(), "digest"),
    ("dm", mail(priority="low"), "digest"),
    ("dm", mail(priority="high"), "now"),
    ("dm", mail(priority="critical"), "now"),
    ("dm", mail("blocker", "low"), "now"),
    ("dm", mail("report", "critical"), "never"),
    ("dm", mail("progress", "critical"), "never"),
    ("dm", mail("insight", "critical"), "never"),
    ("dm", mail("confirm", "critical"), "never"),
    ("dm", mail("contribution", "critical"), "never"),
    ("dm", mail("result", "critical"), "never"),
    ("team", mail(to="exec"), "digest"),
    ("team", mail(to="exec", priority="high"), "now"),
    ("team", mail("report", "high", to="exec"), "never"),
    ("all", mail(to="all", priority="low"), "digest"),
    ("all", mail(to="all", priority="critical"), "now"),
    ("topics", mail(to="status.deploy", priority="low"), "now"),
    ("topics", mail("report", to="status.deploy"), "now"),
    ("topics", mail(to="decisions.storage", priority="critical"), "never"),
    ("topics", mail(to="tasks.python", priority="critical"), "never"),
    ("dm", mail(priority="critical", hops=MAX_HOPS), "now"),
    ("dm", mail(priority="critical", hops=MAX_HOPS + 1), "never"),
    ("dm", mail("blocker", hops=MAX_HOPS + 1), "never"),
    ("topics", mail(to="status.deploy", hops=MAX_HOPS + 1), "never"),
]


@pytest.mark.parametrize(("channel", "said", "asks"), TABLE)
def test_a6_what_wakes_and_what_does_not(org: Org, channel: str, said: Envelope, asks: str) -> None:
    """Urgent words and blockers ask for a turn, the rest for a place in the digest; word of work done asks for none."""
    assert wakes(said, channel, org, "cto") == asks


def test_a2_an_agent_that_does_not_subscribe_is_not_woken(org: Org) -> None:
    """Whether a topic wakes stands in the agent's own subscription."""
    assert wakes(mail(to="status.deploy"), "topics", org, "ceo") == "never"
