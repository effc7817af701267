"""The parameters of the six tools: what a model sees, and what it reads when it errs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clawbus.errors import ClawbusError, InvalidInput, NotFound
from clawbus.node.tools import generate
from clawbus.node.tools.params import TOOLS, NatsInbox, NatsPub, NatsRequest, NatsSpawn, NatsTasks, parse
from clawbus.node.tools.schema import MAX_BYTES, request_bytes

TASK = "a" * 26
HOSTILE_IDS = [
    "agent.>",
    "*",
    ">",
    "a.b",
    "A",
    "a b",
    "",
    "-a",
    "a-",
    "a\n",
    "\u0430gent",
    "a\u202e",
    "x" * 33,
    "../x",
    "a\0",
]


def test_the_six_functions_stay_within_the_bytes_that_each_turn_may_cost() -> None:
    """The function objects, as compact JSON as the gateway sends them, are at most 6,000 bytes."""
    assert [tool.name for tool in TOOLS] == [
        "nats_pub", "nats_request", "nats_inbox", "nats_spawn", "nats_tasks", "nats_org",
    ]  # fmt: skip
    assert request_bytes([tool.function() for tool in TOOLS]) <= MAX_BYTES


def test_schemas_hold_nothing_that_a_model_has_no_use_for() -> None:
    """No titles, no null branches, no references; nothing beyond the listed parameters is allowed."""
    for tool in TOOLS:
        text = json.dumps(tool.schema())
        assert not any(word in text for word in ('"title"', "null", "anyOf", "$ref", "$defs"))
        assert tool.schema()["additionalProperties"] is False


def test_generated_files_follow_the_models() -> None:
    """tools.json, the manifest, package.json and docs/tools.md are what the models say."""
    assert generate.drifted(generate.ROOT) == []


def test_a_drifted_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """--check exits 1 and names each file that differs or is missing; writing mends it."""
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    (tmp_path / "docs/tools.md").write_text("edited by hand")
    (tmp_path / "plugin/openclaw/tools.json").unlink()
    assert generate.main(["--check"]) == 1
    said = capsys.readouterr().err
    assert "docs/tools.md" in said
    assert "plugin/openclaw/tools.json" in said
    assert "openclaw.plugin.json" not in said


def test_defaults_are_filled_in() -> None:
    """What is left out has the value that the schema promises."""
    assert parse("nats_pub", {"to": "cto", "message": "hi"}) == NatsPub(to="cto", message="hi")
    pub = parse("nats_pub", {"to": "cto", "message": "hi", "taskId": TASK, "type": "blocker"})
    assert isinstance(pub, NatsPub)
    assert (pub.type, pub.priority, pub.subject, pub.task_id) == ("blocker", "medium", None, TASK)
    request = parse("nats_request", {"agentId": "cto", "task": "is it so?"})
    assert isinstance(request, NatsRequest)
    assert (request.timeout_seconds, request.run_timeout_seconds) == (60, None)
    inbox = parse("nats_inbox", {})
    assert isinstance(inbox, NatsInbox)
    assert (inbox.action, inbox.limit) == ("read", 10)
    tasks = parse("nats_tasks", {"action": "wait", "taskIds": [TASK]})
    assert isinstance(tasks, NatsTasks)
    assert (tasks.task_ids, tasks.timeout_seconds) == ((TASK,), 60)
    spawn = parse("nats_spawn", {"agentId": "cto", "task": "do it", "runTimeoutSeconds": 86400})
    assert isinstance(spawn, NatsSpawn)
    assert (spawn.run_timeout_seconds, spawn.label) == (86400, None)


MISTAKES: list[tuple[str, object, str, str, str]] = [
    # tool, params, the field that is named, a part of its value, a part of the remedy
    ("nats_pub", {"message": "hi"}, "to", "", "Add it"),
    ("nats_pub", {"to": "cto"}, "message", "", "Add it"),
    ("nats_pub", {"to": "cto", "message": "  "}, "message", "  ", "Say what is to be done"),
    ("nats_pub", {"to": "cto", "message": "/stop"}, "message", "/stop", "Begin with a word"),
    ("nats_pub", {"to": "cto", "message": "x" * 65_537}, "message", "xxx", "file"),
    ("nats_pub", {"to": "cto", "message": "\ud800"}, "message", "ud800", "surrogates"),
    ("nats_pub", {"to": "cto", "message": "hi", "type": "task"}, "type", "task", "one of message, report"),
    ("nats_pub", {"to": "cto", "message": "hi", "priority": "now"}, "priority", "now", "critical, high"),
    ("nats_pub", {"to": "cto", "message": "hi", "taskId": "t*"}, "taskId", "t*", "clawbus tasks"),
    ("nats_pub", {"to": "cto", "message": "hi", "subject": "s" * 201}, "subject", "sss", "200 characters"),
    ("nats_pub", {"to": "cto", "message": "hi", "topic": "x"}, "topic", "x", "It takes: to, message, type"),
    ("nats_pub", {"to": "topic:status", "message": "hi"}, "to", "status", "status.deploy"),
    ("nats_pub", {"to": "team:a.b", "message": "hi"}, "to", "a.b", "cto-athena"),
    ("nats_request", {"agentId": "cto", "task": "x", "timeoutSeconds": 601}, "timeoutSeconds", "601", "1 to 600"),
    ("nats_request", {"agentId": "cto", "task": "x", "timeoutSeconds": 0}, "timeoutSeconds", "0", "1 to 600"),
    ("nats_request", {"agentId": "cto", "task": "x", "timeoutSeconds": "soon"}, "timeoutSeconds", "soon", "1 to 600"),
    ("nats_request", {"agentId": "cto", "task": None}, "task", "None", "a text"),
    ("nats_spawn", {"agentId": "cto", "task": "x", "label": "l" * 201}, "label", "lll", "200 characters"),
    ("nats_spawn", {"agentId": "cto", "task": "x", "runTimeoutSeconds": 86401}, "runTimeoutSeconds", "86401", "86400"),
    ("nats_spawn", {"agent": "cto", "task": "x"}, "agent", "cto", "It takes: agentId, task"),
    ("nats_spawn", {"task": "x"}, "agentId", "", "several in tasks"),
    ("nats_spawn", {"agentId": "cto"}, "task", "", "several in tasks"),
    ("nats_spawn", {"tasks": [{"agentId": "cto", "task": "x"}]}, "tasks", "cto", "2 to 20 objects"),
    ("nats_spawn", {"agentId": "cto", "tasks": [{"agentId": "cto", "task": "x"}] * 2}, "agentId", "cto", "either"),
    ("nats_spawn", {"tasks": [{"agentId": "a.b", "task": "x"}] * 2}, "agentId", "a.b", "cto-athena"),
    ("nats_inbox", {"action": "delete"}, "action", "delete", "read, ack, answer"),
    ("nats_inbox", {"action": "ack"}, "messageId", "", "the message that you read"),
    ("nats_inbox", {"action": "answer", "messageId": "m"}, "message", "", "Write the answer"),
    ("nats_inbox", {"limit": 51}, "limit", "51", "1 to 50"),
    ("nats_tasks", {}, "action", "", "list, status, wait"),
    ("nats_tasks", {"action": "cancel"}, "taskIds", "", "action list"),
    ("nats_tasks", {"action": "cancel", "taskIds": []}, "taskIds", "[]", "list of 1 to 50"),
    ("nats_tasks", {"action": "cancel", "taskIds": TASK}, "taskIds", TASK, "list of 1 to 50"),
    ("nats_tasks", {"action": "status", "taskIds": [TASK, 7]}, "taskIds[1]", "7", "list of 1 to 50"),
    ("nats_tasks", {"action": "status", "taskIds": ["acme.>"]}, "taskIds", "acme.>", "26 characters"),
    ("nats_tasks", {"action": "steer", "taskIds": [TASK]}, "message", "", "running task"),
    ("nats_org", {"online": "perhaps"}, "online", "perhaps", "true or false"),
    ("nats_org", {"role": "r" * 65}, "role", "rrr", "64 characters"),
    ("nats_org", ["cto"], "params", "cto", "JSON object"),
]


@pytest.mark.parametrize(("tool", "params", "field", "value", "remedy"), MISTAKES)
def test_a_mistake_names_the_field_the_value_and_the_remedy(
    tool: str, params: object, field: str, value: str, remedy: str
) -> None:
    """The model reads which of its parameters is wrong, what it was, and what to write instead."""
    with pytest.raises(InvalidInput) as caught:
        parse(tool, params)
    assert caught.value.field == field
    assert caught.value.message.startswith(f"{field} = ")
    assert value in caught.value.message
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("hostile", HOSTILE_IDS)
def test_what_could_leave_its_place_in_a_subject_is_refused(hostile: str) -> None:
    """Wildcards, dots, control characters, look-alikes: none is an id of an agent or of a task, in any field."""
    calls: list[tuple[str, dict[str, object]]] = [
        ("nats_pub", {"to": hostile, "message": "x"}),
        ("nats_pub", {"to": "cto", "message": "x", "taskId": hostile}),
        ("nats_request", {"agentId": hostile, "task": "x"}),
        ("nats_spawn", {"agentId": hostile, "task": "x"}),
        ("nats_tasks", {"action": "status", "taskIds": [hostile]}),
        ("nats_org", {"agentId": hostile}),
        ("nats_org", {"team": hostile}),
    ]
    for tool, params in calls:
        with pytest.raises(InvalidInput):
            parse(tool, params)


def test_an_unknown_tool_is_answered_with_the_known_ones() -> None:
    """Also a name of core, which belongs to the gateway."""
    with pytest.raises(NotFound) as caught:
        parse("sessions_spawn", {})
    assert "nats_spawn" in caught.value.remedy
    assert isinstance(caught.value, ClawbusError)
