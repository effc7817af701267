"""A small company that grows: two agents first, one more at a time, each with its model, logs when they are wanted."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest

from clawbus.client.company import Company
from clawbus.gateway.setup import managed_gateway as own
from clawbus.ops.apply.apply import write_server_config
from clawbus.ops.up import ServicePlan, model_port, planned_model_url
from clawbus.ops.up.services import model_service
from clawbus.org import load, parse
from clawbus.settings import Home
from tests.command import clawbus
from tests.company import free_ports

ROOT = Path(__file__).parents[2]
WRITER = """
[[agents]]
id = "writer-thalia"
role = "role-writer"
reports_to = "ceo-genesis"
gateway = "lab"
model = "anthropic/claude-sonnet-5"
"""


def test_c5_a_company_starts_with_two_and_grows_by_one(tmp_path: Path) -> None:
    """`init duo` is a CEO and one specialist; one table more in org.toml is one agent more."""
    assert clawbus("init", folder=tmp_path).returncode == 0
    assert [agent.role for agent in load(tmp_path / "org.toml").agents] == ["role-ceo", "role-cto"]
    with (tmp_path / "org.toml").open("a") as file:
        file.write(WRITER)
    said = clawbus("check", "--json", folder=tmp_path)
    assert said.returncode == 0
    assert json.loads(said.stdout)["agents"][-1] == {
        "id": "writer-thalia", "role": "role-writer", "team": "exec", "gateway": "lab", "model": "anthropic/claude-sonnet-5"
    }  # fmt: skip


def test_a_second_up_leaves_the_port_of_the_running_model_alone(tmp_path: Path) -> None:
    """It is refused, but only after it has looked for ports: `apply` would send the agents to what it had found."""
    assert clawbus("init", folder=tmp_path).returncode == 0
    company = Company.open(tmp_path / "org.toml")
    company.home.dir("run")
    with socket.create_server(("127.0.0.1", 0)) as model:
        mine = model.getsockname()[1]
        model_service(ServicePlan(company, None), mine)
        assert model_port(company) != mine
        assert planned_model_url(company) == f"http://127.0.0.1:{mine}/v1"
        assert model_port(company, running=True) == mine
    assert model_port(company) == mine


def test_c5_each_agent_may_have_a_model_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the settings of its gateway; the others keep the company's, and a gateway gets the keys of its models only."""
    agents = [
        {"id": "ceo", "gateway": "hq", "model": "anthropic/claude-opus-4-1"},
        {"id": "cto", "gateway": "hq"},
        {"id": "qa", "gateway": "lab", "model": "scripted"},
    ]
    gateways = [{"id": "hq", "port": 18789}, {"id": "lab", "port": 18909}]
    org = parse({"company": "acme", "model": "openai/gpt-5", "gateways": gateways, "agents": agents})
    home = Home(tmp_path)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a")
    monkeypatch.setenv("OPENAI_API_KEY", "o")
    models: dict[str, str] = {}
    keys: dict[str, list[str]] = {}
    for gateway in ("hq", "lab"):
        mine = own.write_settings(home, org, gateway, tmp_path / "plugin", "http://127.0.0.1:1/v1")
        entries = json.loads(mine.config.read_text())["agents"]["entries"]
        models |= {agent: entry["model"] for agent, entry in entries.items()}
        keys[gateway] = sorted(name for name in own.environment(mine) if name.endswith("_API_KEY"))
    assert models == {"ceo": "anthropic/claude-opus-4-1", "cto": "openai/gpt-5", "qa": "scripted/scripted"}
    assert keys == {"hq": ["ANTHROPIC_API_KEY", "OPENAI_API_KEY"], "lab": []}


def test_c5_logs_are_verbose_when_that_is_asked_for(tmp_path: Path) -> None:
    """Nothing but the answer without it; with -vv what happened on the way, with its time and its place."""
    clawbus("init", folder=tmp_path)
    org_file = tmp_path / "org.toml"
    org_file.write_text(org_file.read_text().replace("port = 4222", f"port = {free_ports(1)[0]}"))
    write_server_config(Company.open(org_file))  # it was started once, and is down
    quiet, loud = clawbus("tasks", folder=tmp_path), clawbus("-vv", "tasks", folder=tmp_path)
    assert (quiet.returncode, loud.returncode) == (5, 5)
    assert "clawbus.bus" not in quiet.stderr
    assert "clawbus.bus.connection: bus: " in loud.stderr
    assert "DEBUG" in loud.stderr


def test_c5_the_readme_says_when_not_to_use_it() -> None:
    """As the published advice has it: one agent that does the job, a beginner, simple tasks one after the other."""
    section = (ROOT / "README.md").read_text().split("\n## When not to use it\n")[1].split("\n## ")[0]
    for words in (
        "One agent with good skills does the job",
        "just starting",
        "one after the other",
        "`sessions_spawn`",
    ):
        assert words in section


def test_c6_the_quickstart_fits_one_chat_message_and_names_only_what_there_is(tmp_path: Path) -> None:
    """2,000 characters, which a chat takes as one message; every command of ours in it exists."""
    text = (ROOT / "docs" / "quickstart.md").read_text()
    assert len(text) <= 2000
    named = set(re.findall(r"\bclawbus ([a-z]+)", text))
    assert named >= {"init", "up", "ask", "join", "doctor"}
    for command in named:
        assert clawbus(command, "--help", folder=tmp_path).returncode == 0, command
