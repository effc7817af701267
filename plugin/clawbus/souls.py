"""The files that make an agent: SOUL.md (its voice) and AGENTS.md (its rules), from the role's templates.

OpenClaw gives sub-agents AGENTS.md only, so what must hold everywhere stands there. A file that a person has
changed is never overwritten: writing an agent's soul is writing its orders.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from string import Template

from clawbus.assets import folder
from clawbus.errors import InvalidInput, Missing
from clawbus.org import Agent, Org

FILES = ("SOUL.md", "AGENTS.md")
MAX_CHARS = 20_000
"""What OpenClaw reads of one such file (docs/gateway/config-agents, bootstrap limits)."""
_NEUTRAL = "default"


def render(agent: Agent, org: Org) -> dict[str, str]:
    """The text of each file for an agent, by file name.

    The template is the role's (`role-ceo`: souls/ceo), or souls/default. Raises Missing if the installation
    lacks the templates, InvalidInput if one names an unknown placeholder or comes out too long.
    """
    values = _values(agent, org)
    return {name: _fill(_template(agent.role, name), name, values) for name in FILES}


def write(workspace: Path, files: Mapping[str, str], force: bool = False) -> list[str]:
    """Write what is missing into a workspace; return one unified diff for each file that is there and differs.

    A file that is the same is left alone. One that differs is overwritten only with `force` (its diff is
    returned all the same).
    """
    workspace.mkdir(parents=True, exist_ok=True, mode=0o700)
    diffs: list[str] = []
    for name, text in files.items():
        path = workspace / name
        present = path.read_text("utf-8", errors="replace") if path.exists() else None
        if present not in (None, text):
            diffs.append(_diff(path, present or "", text))
        if present is None or (force and present != text):
            _replace(path, text)
    return diffs


def _values(agent: Agent, org: Org) -> dict[str, str]:
    return {
        "name": agent.name or agent.id,
        "id": agent.id,
        "company": org.company,
        "role": agent.role,
        "team": agent.team,
        "reports_to": agent.reports_to or next((human.id for human in org.humans), "nobody"),
        "specialization": _one_line(agent.specialization) or "none given",
        "personality": _one_line(agent.personality) or "none given",
        "peers": _peers(agent, org),
    }


def _peers(agent: Agent, org: Org) -> str:
    lines = [_peer(other) for other in org.agents if other.id != agent.id]
    lines += [f"- {human.id}: {_one_line(human.name) or human.id}, a person" for human in org.humans]
    return "\n".join(lines) or "- nobody yet; `nats_org` lists who has joined"


def _peer(other: Agent) -> str:
    about = f": {_one_line(other.specialization)}" if other.specialization else ""
    return f"- {other.id}: {_one_line(other.name) or other.id}, {other.role}, team {other.team}{about}"


def _one_line(text: str) -> str:
    """The org file's texts become part of a prompt: as one line each they cannot begin a section of their own."""
    return " ".join(text.split())


def _template(role: str, name: str) -> str:
    root = folder("souls")
    own, neutral = root / role.removeprefix("role-") / name, root / _NEUTRAL / name
    path = own if own.is_file() else neutral
    try:
        return path.read_text("utf-8")
    except OSError:
        raise Missing(f"there is no {path}", "Install clawbus again.") from None


def _fill(template: str, name: str, values: Mapping[str, str]) -> str:
    try:
        text = Template(template).substitute(values)
    except (KeyError, ValueError) as error:
        raise InvalidInput(
            name, str(error), "a placeholder that is not known", f"Use: ${', $'.join(values)}."
        ) from None
    if len(text) > MAX_CHARS:
        raise InvalidInput(
            name, f"{len(text)} characters", f"OpenClaw reads {MAX_CHARS}", "Shorten the org file's texts."
        )
    return text


def _diff(path: Path, present: str, text: str) -> str:
    lines = difflib.unified_diff(
        present.splitlines(), text.splitlines(), f"{path} (yours)", f"{path} (from org.toml)", lineterm=""
    )
    return "\n".join(lines)


def _replace(path: Path, text: str) -> None:
    """The whole file or none of it."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(text, "utf-8")
    scratch.replace(path)
