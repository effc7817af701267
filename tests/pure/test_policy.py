"""What a role must not do, as the tool policy that OpenClaw gets for it."""

from __future__ import annotations

import json
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from clawbus import org as orgs
from clawbus.gateway.setup import claw_package as claw
from clawbus.gateway.setup import managed_gateway as own
from clawbus.gateway.setup.tool_policy import policy
from clawbus.node.tools.params import TOOLS
from clawbus.org import Org
from clawbus.settings import Home, asset_folder
from tests.pure.test_souls import ROLES

COMMANDS = ("exec", "process", "code_execution", "terminal", "nodes", "computer", "portal")
CHANGES = ("write", "edit", "apply_patch")
OF_THE_GATEWAY = ("openclaw", "gateway", "plugins", "automations", "skill_workshop")
GROUPS = {"group:web": ("web_search", "x_search", "web_fetch"), "group:memory": ("memory_search", "memory_get")}
"""What is in them: OpenClaw 2026.9.6, docs/gateway/config-tools/tool-policy. No policy of ours names another."""


def may(role: str, *tools: str) -> list[str]:
    """Which of these tools the policy of a role lets through, read as OpenClaw's page says: deny wins."""
    made = policy(role)
    allowed, denied = (
        [tool for name in made.get(kind, ()) for tool in GROUPS.get(name, (name,))] for kind in ("allow", "deny")
    )
    return [
        tool
        for tool in tools
        if not any(fnmatch(tool, name) for name in denied)
        and (not allowed or any(fnmatch(tool, name) for name in allowed))
    ]


def company(**roles: str) -> Org:
    agents = [{"id": name, "gateway": "hq", "role": role} for name, role in roles.items()]
    return orgs.parse({"company": "acme", "gateways": [{"id": "hq", "port": 28410}], "agents": agents})


@pytest.mark.parametrize("role", ["ceo", "researcher", "writer"])
def test_c3_roles_without_commands_have_no_tool_for_them(role: str) -> None:
    """A ceo, a researcher and a writer run nothing, and the list is closed: a tool that is new is not let in."""
    assert may(f"role-{role}", *COMMANDS, "a-tool-of-next-year") == []
    assert may(f"role-{role}", *CHANGES) == (list(CHANGES) if role == "writer" else [])


@pytest.mark.parametrize("role", ["security", "qa"])
def test_c3_roles_that_judge_have_no_tool_that_edits(role: str) -> None:
    """They run commands, since tests and audits are commands, and mend nothing."""
    assert may(f"role-{role}", *CHANGES) == []
    assert may(f"role-{role}", "exec", "read") == ["exec", "read"]


@pytest.mark.parametrize("role", [*ROLES, "plumber"])
def test_no_role_changes_its_gateway_and_none_loses_the_bus(role: str) -> None:
    """Nothing that a peer sends may change settings, plugins, skills or schedules; the plugin stays in every list."""
    made = policy(f"role-{role}")
    assert may(f"role-{role}", *OF_THE_GATEWAY) == []
    assert set(made) <= {"allow", "deny", "fs"}
    assert "clawbus" in made.get("allow", ["clawbus"])
    assert not {"clawbus", "group:plugins", "*", *(tool.name for tool in TOOLS)} & set(made["deny"])
    assert "read" in made.get("allow", ["read"]), "the skills are read with it"
    assert {name for name in [*made.get("allow", ()), *made["deny"]] if name.startswith("group:")} <= set(GROUPS)


@pytest.mark.parametrize("role", sorted(path.name for path in asset_folder("souls").iterdir()))
def test_a_role_without_exec_reads_in_its_workspace_only(role: str) -> None:
    """Of every role that there is: the company's keys lie in files, and `read` is a tool like any other."""
    confined = policy(f"role-{role}").get("fs") == {"workspaceOnly": True}
    assert confined != bool(may(f"role-{role}", "exec"))


@pytest.mark.parametrize(
    ("written", "confined"),
    [
        ('allow = ["read"]', True),
        ("allow = []", True),
        ('deny = ["exec"]', True),
        ('deny = ["Exec*"]', True),
        ('deny = ["bash"]', True),
        ('deny = ["group:runtime"]', True),
        ('allow = ["read", "exec"]\ndeny = ["exec"]', True),
        ('allow = ["read"]\n[fs]\nworkspaceOnly = false', True),
        ('allow = ["code_execution", "process"]', True),
        ('allow = ["read", "exec"]', False),
        ('allow = ["*"]', False),
        ('allow = ["group:runtime"]', False),
        ('deny = ["write"]', False),
    ],
)
def test_a_role_that_somebody_writes_without_exec_is_kept_in_its_workspace(
    written: str, confined: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He need not think of it, and cannot undo it by mistake."""
    (tmp_path / "policy.toml").write_text(written)
    monkeypatch.setattr("clawbus.gateway.setup.tool_policy.role_file", lambda _, name: tmp_path / name)
    assert (policy("role-mine").get("fs") == {"workspaceOnly": True}) == confined


def test_a_role_without_a_policy_of_its_own_gets_what_all_share() -> None:
    assert policy("role-plumber") == policy("role-engineer") == {"deny": list(OF_THE_GATEWAY)}


def test_c3_an_own_gateway_has_the_policy_of_each_agents_role(tmp_path: Path) -> None:
    """It stands in the settings under the agent's id, in OpenClaw's own words."""
    org = company(ada="role-researcher", hal="role-engineer")
    mine = own.write_settings(Home(tmp_path), org, "hq", Path("/plugin"), "http://127.0.0.1:9/v1")
    entries = json.loads(mine.config.read_text())["agents"]["entries"]
    assert entries["ada"]["tools"] == policy("role-researcher")
    assert entries["ada"]["tools"]["fs"] == {"workspaceOnly": True}
    assert entries["hal"]["tools"] == policy("role-engineer")


def test_an_agent_of_the_users_gateway_is_offered_as_a_claw(tmp_path: Path) -> None:
    """Its files, its model and its tools lie in the company's own folder, and follow the org file; a note says so."""
    org = company(ada="role-researcher")
    home = Home(tmp_path / ".clawbus")
    (note,) = claw.offer(home, org, "hq")
    folder = tmp_path / ".clawbus" / "souls" / "ada"
    assert f"claws add {folder} --dry-run" in note
    profile: dict[str, Any] = json.loads((folder / "profiles" / "openclaw.yml").read_text())
    assert profile == {"schemaVersion": 1, "agent": {"tools": policy("role-researcher")}}
    (folder / "AGENTS.md").write_text("old")
    claw.offer(home, org.model_copy(update={"model": "anthropic/claude"}), "hq")
    assert "(ada), role-researcher" in (folder / "AGENTS.md").read_text()
    profile = json.loads((folder / "profiles" / "openclaw.yml").read_text())
    assert profile["agent"]["model"] == {"primary": "anthropic/claude"}
