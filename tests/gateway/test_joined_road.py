"""A gateway of the user's own, joined by the command line, does the work of the bus and asks for work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clawbus.demo.model.server import ScriptedModel
from clawbus.gateway.setup.installation import OpenClaw
from clawbus.settings import child_environment
from tests.company import Live, duo_toml, free_ports, live

pytestmark = [pytest.mark.gateway, pytest.mark.timeout(600)]


def user_settings(folder: Path, port: int, model_url: str) -> dict[str, Any]:
    """As somebody has set it up who has never heard of clawbus."""
    model = {"id": "scripted", "name": "Scripted", "reasoning": False, "input": ["text"], "contextWindow": 1_000_000,
             "maxTokens": 8000, "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0}}  # fmt: skip
    provider = {"baseUrl": model_url, "apiKey": "none", "api": "openai-completions", "models": [model]}
    return {
        "gateway": {"mode": "local", "port": port, "bind": "loopback", "auth": {"mode": "token", "token": "users-own-token"}},
        "models": {"mode": "replace", "providers": {"scripted": provider}},
        "agents": {
            "ownership": "explicit",
            "defaults": {"model": {"primary": "scripted/scripted"}, "skipBootstrap": True,
                         "heartbeat": {"every": "0m", "target": "none"}},
            "entries": {"cto-athena": {"name": "Athena", "workspace": str(folder / "ws")}},
        },
        "update": {"checkOnStart": False},
        "logging": {"file": str(folder / "openclaw.log")},
    }  # fmt: skip


async def test_a_joined_gateway_works(tmp_path: Path, claw: OpenClaw, model: ScriptedModel) -> None:
    """join --yes, start; a task comes, and its agent reaches the bus through the plugin that join has put there."""
    ports = free_ports(3)
    toml = duo_toml(ports).replace(
        f'id = "lab"\nport = {ports[2]}', f'id = "lab"\nport = {ports[2]}\nown = false\ntoken_file = "token"'
    )
    user = tmp_path / "user"
    (user / "ws").mkdir(parents=True)
    (user / "state").mkdir(mode=0o700)
    config = user / "openclaw.json"
    config.write_text(json.dumps(user_settings(user, ports[2], model.url)))
    config.chmod(0o600)
    (tmp_path / "token").write_text("users-own-token\n")
    async with live(tmp_path, claw, model.url, toml) as company:
        join = [sys.executable, "-m", "clawbus", "join", "--gateway", "lab", "--config", str(config), "--state",
                str(user / "state"), "--yes"]  # fmt: skip
        done = subprocess.run(join, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "users-own-token" not in done.stdout + done.stderr
        await company.start("gateway-hq", "node-hq")
        env = child_environment(HOME=str(user), OPENCLAW_STATE_DIR=str(user / "state"), OPENCLAW_CONFIG_PATH=str(config),
                                OPENCLAW_NO_RESPAWN="1", OPENCLAW_DISABLE_BONJOUR="1", OPENCLAW_OFFLINE="1")  # fmt: skip
        await run_gateway(company, claw, env, user / "out.log")
        await company.start("node-lab")
        await company.online("ceo-genesis", "cto-athena")
        task = '@tool nats_org {"role": "role-ceo"}'
        answer = await company.tool("hq", "ceo-genesis", "nats_request", agentId="cto-athena", task=task)
        assert answer["data"]["state"] == "done", answer
        assert "ceo-genesis: role-ceo" in answer["text"]


async def run_gateway(company: Live, claw: OpenClaw, env: dict[str, str], log: Path) -> None:
    with log.open("ab") as out:
        company.processes["gateway-lab"] = subprocess.Popen(
            claw.argv("gateway", "run"),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    await company.ready("gateway-lab")
