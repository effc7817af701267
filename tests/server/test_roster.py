"""Who is there: what nodes say of their agents, and how an agent finds a colleague by it."""

from __future__ import annotations

import json
from typing import Any

from clawbus import __version__
from clawbus.bus import gateway_reader
from clawbus.node.prompts import frames
from clawbus.tasks.roster import ASK, Roster
from clawbus.wire.envelope import decode
from tests.company import Live, until
from tests.server.test_channels import stored, trio

__all__ = ["trio"]


async def who(trio: Live, **asked: Any) -> list[str]:
    answer = await trio.tool("hq", "ceo", "nats_org", **asked)
    assert answer["ok"], answer
    return [one["id"] for one in answer["data"]["agents"]]


async def test_an_answer_of_the_server_that_is_aimed_at_presence_says_nothing_of_anybody(bus_only: Live) -> None:
    """A gateway can have what it asks JetStream for sent to where a colleague's presence is heard; he stays there."""
    roster, subjects = Roster(bus_only.company.subjects), bus_only.company.subjects
    aimed = subjects.presence("ceo-genesis")
    heard: list[str] = []

    def hear(message: Any) -> None:
        roster.on_presence(message)
        heard.append(message.subject)

    async with bus_only.company.connect("gw-hq") as hq, bus_only.company.connect("gw-lab") as lab:
        await hq.listen(subjects.everything("presence"), hear)
        await hq.tell(aimed, json.dumps({"v": 1, "gateway": "hq", "ready": True}).encode())
        await until(lambda: _held(roster.online("ceo-genesis")), "his own presence")
        mine = json.dumps({"v": 1, "ready": False}).encode()
        await lab.publish(subjects.dm("cto-athena", "cto-athena"), mine, msg_id="cto-athena-1")
        asked = {"STREAM.MSG.GET.KEYS": {"seq": 1}}
        asked[f"CONSUMER.MSG.NEXT.INBOX.{gateway_reader('lab')}"] = {"batch": 1}
        for method, body in asked.items():
            await lab.tell(f"{lab.identity.api}.{method}", json.dumps(body).encode(), reply=aimed)
        await until(lambda: _held(len(heard) == 3), "both answers")
        assert roster.online("ceo-genesis")
        assert not roster.last("cto-athena")


async def _held(what: bool) -> bool:
    return what


async def test_an_agent_is_found_by_role_team_skill_and_pool(trio: Live) -> None:
    """Each filter by itself, and all that are given together; a skill by a word, whatever its case."""
    assert await who(trio, role="role-qa") == ["qa"]
    assert await who(trio, role="cto") == ["cto"]
    assert await who(trio, team="quality") == ["qa"]
    assert await who(trio, team="testers") == ["cto", "qa"]
    assert await who(trio, skill="Python") == ["cto"]
    assert await who(trio, skill="python", team="quality") == []
    assert await who(trio, agentId="ceo") == ["ceo"]
    assert await who(trio) == ["ceo", "cto", "qa"]


async def test_the_list_says_who_reports_to_whom_and_names_teams_pools_and_people(trio: Live) -> None:
    """The top reports to a person; whoever calls is marked."""
    answer = await trio.tool("hq", "ceo", "nats_org")
    lines = answer["text"].split("\n")
    assert lines[0].startswith("ceo (you): role-ceo, team exec, reports to owner, ")
    assert "skills: python, architecture" in lines[1]
    assert "reports to cto" in lines[2]
    assert "owner: a person" in lines
    assert "team:exec: ceo, cto" in lines
    assert "team:quality: qa" in lines
    assert "testers: a pool, one of cto, qa takes a task" in lines
    assert [one["id"] for one in answer["data"]["people"]] == ["owner"]
    filtered = await trio.tool("hq", "ceo", "nats_org", role="role-qa")
    assert "a person" not in filtered["text"]
    nobody = await trio.tool("hq", "ceo", "nats_org", skill="cooking")
    assert "Nobody fits" in nobody["text"]


async def test_presence_says_where_an_agent_lives_and_what_it_can_do(trio: Live) -> None:
    """Asked for it, each node answers for each of its agents; no model and no gateway is needed for that."""
    said: dict[str, dict[str, Any]] = {}
    async with trio.owner() as bus:

        def hear(message: Any) -> None:
            sender = trio.company.subjects.parse(message.subject).sender
            if sender != "owner":
                said[sender] = json.loads(message.data)

        stop = await bus.listen(trio.company.subjects.everything("presence"), hear)
        await bus.tell(trio.company.subjects.build("roll", "owner"), ASK)

        async def all_said() -> bool:
            return {"ceo", "cto", "qa"} <= set(said)

        await until(all_said, "the presence of all", 10)
        await stop()
    assert said["cto"] == {
        "v": 1,
        "gateway": "lab",
        "ready": False,
        "busy": 0,
        "state": "running",
        "version": __version__,
        "role": "role-cto",
        "team": "exec",
        "skills": ["python", "architecture"],
        "model": "scripted",
    }


async def test_k6_a_message_carries_what_the_document_names(trio: Live) -> None:
    """Type, from, to, subject, priority, context, deadline, artifacts: on the bus, and before the reader's eyes."""
    about = (await trio.tool("lab", "cto", "nats_spawn", agentId="qa", task="look"))["data"]["taskId"]
    answer = await trio.tool(
        "lab",
        "cto",
        "nats_pub",
        to="ceo",
        type="report",
        subject="Node 18 to 22",
        message="Proceed: 3 uses to replace.",
        priority="high",
        taskId=about,
        deadlineMinutes=90,
        artifacts=["r2://komodo-ai/reports/node22.md"],
    )
    assert answer["ok"], answer
    (one,) = await stored(trio, "INBOX", trio.company.subjects.dm_for("ceo"))
    sent = json.loads(one.data)
    wanted = {
        "type": "report",
        "from": "cto",
        "to": "ceo",
        "subject": "Node 18 to 22",
        "priority": "high",
        "body": "Proceed: 3 uses to replace.",
        "task_id": about,
        "sla": {"complete_within_minutes": 90},
    }
    assert {name: sent[name] for name in wanted} == wanted
    assert sent["artifacts"][0]["uri"] == "r2://komodo-ai/reports/node22.md"

    text = frames.message(decode(one.data, "cto"), "1")
    for line in (
        "From: cto, verified by signature",
        "To: you",
        "Type: report   Priority: high",
        "Deadline: ",
        f"Task: {about}",
    ):
        assert f"\n{line}" in text
    for words in ("Subject: Node 18 to 22", "Proceed: 3 uses"):
        assert words in text


async def test_k6_a_task_carries_what_the_document_names(trio: Live) -> None:
    """The same for a task: what is said of it stands in its envelope."""
    answer = await trio.tool(
        "hq",
        "ceo",
        "nats_spawn",
        agentId="cto",
        task="We need to upgrade before April. Evaluate it.",
        label="Evaluate Node.js 18 to 22",
        priority="high",
        deadlineMinutes=60,
        artifacts=["r2://komodo-ai/tasks/brief.md"],
    )
    assert answer["ok"], answer
    (one,) = await stored(trio, "TASKS", trio.company.subjects.everything("tasks"))
    task = json.loads(one.data)
    assert (task["type"], task["from"], task["to"], task["priority"]) == ("task", "ceo", "cto", "high")
    assert (task["subject"], task["sla"]) == ("Evaluate Node.js 18 to 22", {"complete_within_minutes": 60})
    assert task["body"].startswith("We need to upgrade")
    assert task["artifacts"][0]["uri"] == "r2://komodo-ai/tasks/brief.md"
