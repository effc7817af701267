"""Hostile ids are refused before any network call, wherever one may be given; subjects are read as they are built."""

from __future__ import annotations

import functools
import re
import tempfile
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbus.cli import cli
from clawbus.errors import Away, InvalidInput, NotFound, Refused, WireError
from clawbus.node.tools.params import TOOLS, parse
from clawbus.org import Org, OrgMistakes, load
from clawbus.tasks.guests import place
from clawbus.wire.channels import CHANNELS, Channel
from clawbus.wire.subjects import PRIORITIES, TOPIC_KINDS, Subjects, check_id, check_task_id, check_topic, new_task_id
from tests.company import duo_toml

ACME = Subjects("acme")
HOSTILE = [
    "agent.>", "*", ">", "a b", "a\r\nb", "..", "../x", "./a", "ü", "a" * 300, "", "a.b", "a\0b", "-a", "a-", "A", "\u0430gent", "a\u200bb", "$JS.API",
    "_INBOX.x", "a/b", "a\tb", "\n", "a\n", "\na", "'", '"', "%2e", "\u202ea", "\uff41", "\u0661", "a\x1b[2J", "all.>", "cto.*", "a" * 33, "a\\b", "a;b", "\ud800",
    "cto-athena ", " cto-athena", "cto-athena\n", "CTO-athena", "cto_athena", "cto-athena.ceo", "\u212a",
]  # fmt: skip
AGENT = "cto-athena"
GOOD = (AGENT, "owner", "exec", "a" * 26, "all", "default", "status.deploy", "deploy")
COMMANDS = [
    ["ask", "{}", "x"], ["ask", AGENT, "x", "--then", "{}"], ["ask", AGENT, "x", "--as", "{}"], ["send", "{}", "x"], ["send", "team:{}", "x"],
    ["send", "topic:{}", "x"], ["send", "topic:status.{}", "x"], ["send", AGENT, "x", "--about", "{}"], ["inbox", "{}"], ["task", "show", "{}"], ["task", "result", "{}"],
    ["task", "cancel", "{}"], ["task", "steer", "{}", "x"], ["task", "files", "{}", "out"], ["meet", "{}", "--agenda", "x"], ["replay", "--task", "{}"],
    ["replay", "--agent", "{}"], ["approve", "{}"], ["refuse", "{}"], ["dead", "show", "{}"], ["dead", "redrive", "{}"], ["dead", "prune", "{}"],
    ["dead", "redrive", "aaaa", "--to", "{}"], ["receipts", "{}"], ["learning", "show", "{}"], ["learning", "promote", "{}"], ["node", "--gateway", "{}"],
    ["alerts", "--as", "{}"], ["tasks", "--as", "{}"], ["pause", "{}"], ["resume", "{}"], ["budget", "{}"], ["invite", "{}"],
]  # fmt: skip
IDS = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?", fullmatch=True)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_asks_the_network_about_a_hostile_id(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No server runs here: who asked it would say that it is away. An empty option is none."""
    monkeypatch.chdir(tmp_path)
    Path("org.toml").write_text(duo_toml([2001, 2101, 2201]))
    assert command[0] in ("node", "invite") or any(_reaches(command, one) for one in GOOD)
    for one in HOSTILE:
        if not one and command[-2].startswith("--"):
            continue
        with pytest.raises((InvalidInput, NotFound, click.UsageError)) as caught:
            cli.main([word.replace("{}", one) for word in command], standalone_mode=False)
        assert not isinstance(caught.value, OrgMistakes)
        assert "credentials" not in str(caught.value), one  # it had begun to connect


def _reaches(command: list[str], good: str) -> bool:
    """Whether a good id gets as far as the connection."""
    try:
        cli.main([word.replace("{}", good) for word in command], standalone_mode=False)
    except (Away, Refused):
        return True
    except (InvalidInput, NotFound) as error:
        return "credentials" in str(error)
    return False


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
def test_no_builder_takes_a_hostile_token(channel: Channel) -> None:
    """Not as a token, not as the sender, not as the company; a filter takes a lone wildcard, and nothing longer."""
    good = dict.fromkeys(channel.tokens, "a") | {
        name: value for name, value in _SPECIAL.items() if name in channel.tokens
    }
    assert ACME.parse(ACME.build(channel.name, "a", **good)).tokens == good
    for one in HOSTILE:
        for name in channel.tokens:
            with pytest.raises(InvalidInput):
                ACME.build(channel.name, "a", **good | {name: one})
            if one != "*":
                with pytest.raises(InvalidInput):
                    ACME.filter(channel.name, "a", **good | {name: one})
        with pytest.raises(InvalidInput):
            ACME.build(channel.name, one, **good)
        with pytest.raises(InvalidInput):
            Subjects(one)


_SPECIAL = {"task": "a" * 26, "trace": "a" * 26, "priority": "high", "sha256": "0" * 64, "part": "7"}


def test_no_tool_takes_a_hostile_id() -> None:
    """Each parameter that names somebody or a task, of each tool."""
    whole: dict[str, dict[str, Any]] = {
        "nats_pub": {"to": AGENT, "message": "x", "taskId": "a" * 26},
        "nats_request": {"agentId": AGENT, "task": "x"},
        "nats_spawn": {"agentId": AGENT, "task": "x", "onComplete": AGENT},
        "nats_tasks": {"action": "status", "taskIds": ["a" * 26]},
        "nats_org": {"agentId": AGENT, "team": "exec"},
    }
    names = {"to", "taskId", "agentId", "onComplete", "taskIds", "team"}
    assert set(whole) <= {tool.name for tool in TOOLS}
    for tool, params in whole.items():
        parse(tool, params)
        for name in names & set(params):
            for one in HOSTILE:
                with pytest.raises(InvalidInput):
                    parse(tool, params | {name: [one] if name == "taskIds" else one})


@given(st.text())
def test_only_what_is_an_id_is_one(text: str) -> None:
    is_id = re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?", text, re.ASCII) is not None
    is_task = re.fullmatch(r"[a-z2-7]{26}", text, re.ASCII) is not None
    for check, good in ((check_id, is_id), (check_task_id, is_task)):
        if good:
            assert check("x", text) == text
        else:
            with pytest.raises(InvalidInput):
                check("x", text)


@given(st.sampled_from(CHANNELS), IDS, IDS, st.sampled_from(PRIORITIES), st.integers(0, 9999), st.data())
def test_every_subject_is_read_as_it_was_built(
    channel: Channel, sender: str, other: str, priority: str, part: int, data: st.DataObject
) -> None:
    special = {
        "task": new_task_id(),
        "trace": new_task_id(),
        "priority": priority,
        "sha256": "ab" * 32,
        "part": str(part),
    }
    tokens = {name: special.get(name) or data.draw(IDS) for name in channel.tokens}
    parsed = ACME.parse(ACME.build(channel.name, sender, **tokens))
    assert (parsed.channel, parsed.sender, parsed.tokens) == (channel.name, sender, tokens)
    with pytest.raises(WireError):
        Subjects("other" if other != "other" else "another").parse(ACME.build(channel.name, sender, **tokens))


@given(
    st.text()
    | st.lists(st.sampled_from(["acme", "dm", "tasks", "a", "*", ">", "", " ", "high", "a" * 26])).map(".".join)
)
def test_any_subject_is_parsed_or_refused(subject: str) -> None:
    """And what is parsed can be built again, to the letter."""
    try:
        parsed = ACME.parse(subject)
    except WireError:
        return
    assert ACME.build(parsed.channel, parsed.sender, **parsed.tokens) == subject


@given(st.text())
def test_a_topic_is_one_of_ours(text: str) -> None:
    try:
        kind, name = check_topic("to", text)
    except InvalidInput:
        return
    assert kind in TOPIC_KINDS
    assert check_id("name", name) == name


@given(
    st.text()
    | st.lists(st.sampled_from([*HOSTILE, "komodo-ai", "genbrain", "agents", "org", "dm", AGENT])).map(".".join)
)
def test_a_guests_subject_leads_to_members_only(subject: str) -> None:
    """Whatever a guest publishes on: it is nobody's, or an agent's, a team's or a topic's of org.toml."""
    org = _org()
    found = place(org, subject)
    if found is None:
        return
    known = {agent.id for agent in org.agents} | set(org.team_ids) | {"all", "learning"}
    for to in found.to:
        assert to in known or check_topic("to", to)


@functools.cache
def _org() -> Org:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "org.toml"
        path.write_text(duo_toml([2001, 2101, 2201]))
        return load(path)
