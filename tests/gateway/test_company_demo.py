"""`clawbus demo --company`: three real gateways, a question that climbs to a person, a review with no hand between."""

from __future__ import annotations

import pytest

from clawbus.client.watch import WatchEvent
from clawbus.demo import workflow
from clawbus.demo.stage import Wish, app_folder
from clawbus.gateway.setup.installation import OpenClaw

pytestmark = [pytest.mark.gateway, pytest.mark.timeout(600)]


async def test_the_workflow_of_a_whole_company_from_the_question_to_the_review(claw: OpenClaw) -> None:
    """The CTO's task raises a blocker and waits; the CEO may not answer; the person's answer lets the task go on, and is
    part of its result; then Security looks at each place; and the CEO hears of both in the session that asked."""
    events: list[WatchEvent] = []
    outcome = await workflow.run(Wish(app_folder(None), claw), print, events.append)
    kinds = [event.kind for event in events]
    assert [kind for kind in kinds if kind in ("raised", "escalated", "resolved")] == [
        "raised",
        "escalated",
        "resolved",
    ]
    assert kinds.index("resolved") < kinds.index("done") < kinds.index("chained")
    cto, security = outcome.tasks
    assert (cto["worker"], cto["state"], cto["delivery"]) == ("cto-athena", "done", "announced")
    assert (security["requester"], security["worker"], security["state"]) == ("steward", "security-argus", "done")
    assert "src/auth/encrypt.ts:32" in cto["result"]
    assert workflow.ANSWER in cto["result"]
    assert "I looked at each of the 3 places" in security["result"]
    assert "Security has checked the report" in outcome.recommendation
    assert "I recommend Node 22 once this is done" in outcome.recommendation
