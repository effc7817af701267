"""An agent as a Claw, the folder from which OpenClaw makes an agent: for gateways that are the user's.

`openclaw claws add FOLDER --dry-run` shows what it would do and asks for consent. It makes a new agent and never
changes one that exists (docs/cli/claws, experimental in OpenClaw 2026.9.6). clawbus itself writes neither an agent's
files nor its tool policy into such a gateway.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clawbus.gateway.setup.souls import FILES, render, write
from clawbus.gateway.setup.tool_policy import policy
from clawbus.org import Agent, Org
from clawbus.settings import Home

MANIFEST, PROFILE = "CLAW.md", "profiles/openclaw.yml"


def package(agent: Agent, org: Org) -> dict[str, str]:
    """The files of an agent's Claw, by path: SOUL.md, AGENTS.md, the manifest, and the profile with model and tools."""
    sources = {name: {"source": name} for name in FILES}
    about = {"id": agent.id, "name": agent.name or agent.id}
    manifest = {"schemaVersion": 1, "agent": about, "workspace": {"bootstrapFiles": sources}}
    settings: dict[str, Any] = {"tools": policy(agent.role)}
    if "/" in org.model_of(agent):  # the scripted model is a provider of the company's own gateways only
        settings["model"] = {"primary": org.model_of(agent)}
    profile = {"schemaVersion": 1, "agent": settings}
    # JSON is YAML, and both of these are read as YAML.
    front = "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in manifest.items())
    return {**render(agent, org), MANIFEST: f"---\n{front}\n---\n", PROFILE: json.dumps(profile, indent=2) + "\n"}


def offer(home: Home, org: Org, gateway_id: str) -> list[str]:
    """Write the Claws of a gateway's agents into the company's own folder. Returns a note for the user on each agent.

    They are copies of clawbus, and are updated without asking.
    """
    notes = []
    for agent in org.agents_of(gateway_id):
        folder = home.dir("souls", agent.id)
        home.dir("souls", agent.id, Path(PROFILE).parent.name)
        write(folder, package(agent, org), force=True)
        notes.append(
            f"{agent.id} is {agent.role}: join leaves its SOUL.md, AGENTS.md and tool policy to you. What the role "
            f"says lies in {folder}. If the gateway has no agent {agent.id} yet: "
            f"OPENCLAW_EXPERIMENTAL_CLAWS=1 openclaw claws add {folder} --dry-run"
        )
    return notes
