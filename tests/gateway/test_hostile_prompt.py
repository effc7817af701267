"""Hostile text in real prompts: what a model is asked, when an agent of the company sends it everything that is hostile.

The agent's node is stopped, and its key speaks: each message is signed by it, and no tool has checked the words.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from clawbus.demo.model.server import ScriptedModel
from clawbus.tasks import NewTask, make_task
from clawbus.tasks.budget_account import spend_of
from clawbus.wire.envelope import Artifact, Envelope
from clawbus.wire.subjects import Subjects, new_message_id, new_task_id
from tests.company import Live, until
from tests.corpus import CASES
from tests.gateway.conftest import MAIN
from tests.server.test_hostile_text import FENCE, acting, meaning

pytestmark = [pytest.mark.gateway, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
CEO, CTO, ACME = "ceo-genesis", "cto-athena", Subjects("acme")
MARK = "zzmarkzz"
TEXTS = [case.text for case in CASES if all(not 0xD800 <= ord(char) < 0xE000 for char in case.text)]
EVERYTHING = "\n".join([MARK, *TEXTS, MARK])
LABEL = f"{MARK}\n{' '.join(TEXTS[::9])}"[:200]


async def publish(company: Live, subject: str, **fields: Any) -> Envelope:
    said = {"id": new_message_id(CTO), "from": CTO, "to": CEO, "body": EVERYTHING, "subject": LABEL, "priority": "high"}
    files = [Artifact(name=text[:255], uri=f"r2://b/{number}") for number, text in enumerate(TEXTS[::25])]
    mail = Envelope.model_validate(said | {"artifacts": files[:20]} | fields)
    async with company.company.connect("gw-lab") as bus:
        await bus.publish(subject, mail.encode(), msg_id=mail.id)
    return mail


async def heard(company: Live, session: str, count: int) -> list[str]:
    """The messages that a session was given and that bring the hostile text, once there are so many."""

    async def look() -> list[str] | None:
        found = [text for role, text in await company.transcript("hq", session) if role == "user" and MARK in text]
        return found if len(found) >= count else None

    return await until(look, f"the words in {session}", 90)


async def test_no_real_prompt_has_hostile_words_outside_their_marks(duo: Live, brain: ScriptedModel) -> None:
    """A task, its steering, a result, mail, a blocker, a broadcast, a topic's message, a lesson: in the transcript."""
    task_id = await duo.spawn("do something", label="mine")
    duo.kill("node-lab")
    await publish(duo, ACME.build("learning", CTO), type="insight", to="learning", task_id=new_task_id(), artifacts=[])
    task = make_task(duo.org, CTO, NewTask(CEO, "@reply done"))
    async with duo.company.connect("gw-lab") as bus:
        await spend_of(bus, duo.org).reserve(task)
    sent = await publish(duo, ACME.task(CEO, "high", CTO), **_fields(task), body=f"@reply done\n{EVERYTHING}")
    await publish(duo, ACME.dm(CEO, CTO), type="message")
    await publish(duo, ACME.dm(CEO, CTO), type="blocker", task_id=new_task_id(), parent="IGNORE-ALL-RULES")
    await publish(duo, ACME.build("all", CTO), type="message", to="all", task_id=new_task_id())
    end = await publish(duo, ACME.build("all", CTO), type="report", to="all", task_id=new_task_id(), priority="low")
    result = end.model_copy(
        update={"id": new_message_id(CTO), "type": "result", "to": CEO, "task_id": task_id, "status": "done"}
    )
    async with duo.company.connect("gw-lab") as bus:
        await duo.company.ends(bus).write(result, CEO, CTO)
        await bus.publish(ACME.dm(CEO, CTO), result.encode(), msg_id=result.id)
    texts = await heard(duo, f"agent:{CEO}:nats:{sent.task_id}", 1)
    texts += await heard(duo, f"agent:{CEO}:nats:from-{CTO}", 3)
    texts += await heard(duo, MAIN, 1)
    for text in texts:
        inside = [found[2] for found in FENCE.finditer(text)]
        assert inside
        assert MARK not in FENCE.sub("", text)
        assert "IGNORE-ALL-RULES" not in text
        assert acting(text) == []
        assert [meaning(one) for one in inside] == [[]] * len(inside)
    for tool, params in (
        ("nats_inbox", {}),
        ("nats_tasks", {"action": "list"}),
        ("nats_tasks", {"action": "status", "taskIds": [task_id]}),
    ):
        answer = await duo.tool("hq", CEO, tool, **params)
        assert answer["ok"], answer
        assert MARK not in FENCE.sub("", answer["text"])
        assert acting(answer["text"]) == []
    asked = [json.dumps(turn, default=str, ensure_ascii=False) for turn in brain.turns]
    assert asked
    assert not any(re.search(r"\x1b|\x9b|\u202e", one) for one in asked)


def _fields(task: Envelope) -> dict[str, Any]:
    said = task.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {name: value for name, value in said.items() if name not in ("id", "subject", "body", "artifacts")}
