"""The gateways that org.toml calls the company's own (`own = true`): their folder, settings and environment.

All of such a gateway lies in one folder, `gateways/<id>` of the company's home: its HOME, state, settings and token,
and its agents' workspaces. Source of the settings: docs/gateway/configuration-reference of OpenClaw 2026.9.6.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clawbus.errors import InvalidInput
from clawbus.gateway.setup.tool_policy import policy
from clawbus.org import Agent, Org
from clawbus.settings import Home, child_environment, keys_of, write_secret

PLUGIN = "clawbus"
SCRIPTED = "scripted"


@dataclass(frozen=True, slots=True)
class ManagedGateway:
    """The paths of one gateway. `providers`: those of its agents' models, but for the scripted one."""

    id: str
    port: int
    folder: Path
    providers: frozenset[str]

    @property
    def config(self) -> Path:
        return self.folder / "openclaw.json"

    @property
    def token_file(self) -> Path:
        return self.folder / "token"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def log(self) -> Path:
        """OpenClaw's own log; by default all gateways of a user share one file."""
        return self.folder / "openclaw.log"

    def workspace(self, agent: str) -> Path:
        return self.folder / "workspaces" / agent


def locate(home: Home, org: Org, gateway_id: str) -> ManagedGateway:
    """The own gateway of that id. Raises NotFound."""
    gateway = org.gateway(gateway_id)
    models = {org.model_of(agent) for agent in org.agents_of(gateway.id)}
    providers = frozenset(model.split("/")[0] for model in models if model != SCRIPTED)
    return ManagedGateway(gateway.id, gateway.port, home.dir("gateways", gateway.id), providers)


def write_settings(
    home: Home, org: Org, gateway_id: str, plugin: Path, scripted_url: str | None = None
) -> ManagedGateway:
    """Write the openclaw.json of an own gateway, and make its folders, workspaces and token.

    `plugin`: the assembled plugin folder. `scripted_url`: the address of the scripted model, such as
    `http://127.0.0.1:1/v1`, for agents whose model is "scripted". Raises InvalidInput for a model that is neither
    `provider/model` nor "scripted" with an URL.
    """
    own = locate(home, org, gateway_id)
    for agent in org.agents_of(own.id):
        _check_model(agent, org.model_of(agent), scripted_url)
        home.dir("gateways", own.id, "workspaces", agent.id)
    home.dir("gateways", own.id, "state")
    if not own.token_file.exists():
        write_secret(own.token_file, secrets.token_urlsafe(32))
    text = settings_text(own, home, org, plugin, scripted_url)
    # A gateway reloads when its settings are written: a file that has the same text is not touched.
    if not own.config.exists() or own.config.read_text("utf-8") != text:
        write_secret(own.config, text)
    own.config.chmod(0o600)  # the audit calls anything wider critical
    return own


def settings_text(own: ManagedGateway, home: Home, org: Org, plugin: Path, scripted_url: str | None) -> str:
    """The text of openclaw.json; the token's file is there already."""
    settings = _settings(own, org, home.socket(own.id), plugin, scripted_url)
    return json.dumps(settings, indent=2, ensure_ascii=False) + "\n"


def environment(own: ManagedGateway) -> dict[str, str]:
    """The environment of an own gateway: its folders, no network look-ups of its own, no key but its models'."""
    env = child_environment(
        HOME=str(own.folder),
        OPENCLAW_STATE_DIR=str(own.state),
        OPENCLAW_CONFIG_PATH=str(own.config),
        OPENCLAW_NO_RESPAWN="1",  # the supervisor restarts it, not the gateway itself
        OPENCLAW_DISABLE_BONJOUR="1",
        OPENCLAW_NO_AUTO_UPDATE="1",
        OPENCLAW_OFFLINE="1",  # it would fetch fd and ripgrep
    )
    return env | keys_of(own.providers)


def _check_model(agent: Agent, model: str, scripted_url: str | None) -> None:
    field = f"agents[{agent.id}].model"
    if model == SCRIPTED:
        if scripted_url is None:
            raise InvalidInput(field, model, "nobody plays the scripted model here", "Set `model` to provider/model.")
        return
    provider, slash, name = model.partition("/")
    if not (provider and slash and name):
        raise InvalidInput(field, model, "not a model", 'Write it as "provider/model", or "scripted".')


def _settings(own: ManagedGateway, org: Org, socket: Path, plugin: Path, scripted_url: str | None) -> dict[str, Any]:
    return {
        "gateway": {
            "mode": "local",
            "port": own.port,
            "bind": "loopback",
            "auth": {"mode": "token", "token": {"source": "file", "provider": PLUGIN, "id": "value"}},
        },
        # The token stays in its file: OpenClaw reads it there (docs/gateway/secrets/secretref-contract).
        "secrets": {"providers": {PLUGIN: {"source": "file", "path": str(own.token_file), "mode": "singleValue"}}},
        "models": _models(own, scripted_url),
        "agents": {
            "ownership": "explicit",
            "defaults": {"skipBootstrap": True, "heartbeat": {"every": "0m", "target": "none"}},
            "entries": {agent.id: _agent(own, org, agent) for agent in org.agents_of(own.id)},
        },
        "plugins": {
            # A model's provider is a bundled plugin of the same name, and this list is exclusive.
            "allow": [PLUGIN, "memory-core", *sorted(own.providers)],
            "load": {"paths": [str(plugin)]},
            "entries": {
                PLUGIN: {"enabled": True, "config": {"socket": str(socket)}},
                "memory-core": {"config": {"dreaming": {"enabled": False}}},
            },
        },
        "tools": {"alsoAllow": [PLUGIN]},
        # Dreaming (nightly) and learning (after turns, and weekly) run turns that nobody asked for.
        "skills": {"workshop": {"autonomous": {"mode": "off"}}},
        "update": {"checkOnStart": False},
        "telemetry": {"enabled": False},
        "discovery": {"mdns": {"mode": "off"}},
        "logging": {"file": str(own.log)},
    }


def _models(own: ManagedGateway, scripted_url: str | None) -> dict[str, Any]:
    # `replace` leaves only the scripted provider; with a real one `merge` keeps OpenClaw's own definitions.
    models: dict[str, Any] = {"mode": "merge" if own.providers else "replace", "catalogRefresh": {"enabled": False}}
    if scripted_url is not None:
        models["providers"] = {SCRIPTED: _scripted(scripted_url)}
    return models


def _scripted(url: str) -> dict[str, Any]:
    free = {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0}
    model = {"id": SCRIPTED, "name": "Scripted", "reasoning": False, "input": ["text"], "cost": free}
    model |= {"contextWindow": 1_000_000, "maxTokens": 8_000}
    return {"baseUrl": url, "apiKey": "none", "api": "openai-completions", "models": [model]}


def _agent(own: ManagedGateway, org: Org, agent: Agent) -> dict[str, Any]:
    model = org.model_of(agent)
    return {
        "name": agent.name or agent.id,
        "workspace": str(own.workspace(agent.id)),
        "model": f"{SCRIPTED}/{SCRIPTED}" if model == SCRIPTED else model,
        "tools": policy(agent.role),
    }
