"""The files that make an agent: SOUL.md (its voice) and AGENTS.md (its rules), from templates and the org's facts.

A role's folder has the part of the role; `_common` has the frame that all share: facts, peers, the rules of the bus.
OpenClaw gives sub-agents AGENTS.md only, so a rule for all stands there. So does the routing of blockers, since
OpenClaw no longer reads HEARTBEAT.md (docs/reference/templates/HEARTBEAT). A file that a person has changed is never
overwritten: an agent's soul is its orders.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from string import Template

from clawbus.errors import InvalidInput, Missing
from clawbus.org import Agent, Org
from clawbus.settings import asset_folder

_RECORD = ".clawbus-wrote.json"
FILES = ("SOUL.md", "AGENTS.md")
MAX_CHARS = 20_000
"""OpenClaw reads no more of one such file (docs/gateway/config-agents, bootstrap limits)."""
COMMON = "_common"
NEUTRAL = "default"
_PEERS, _PEER_CHARS = 40, 200
"""The peers that are listed, and the characters on each. Each turn pays for the list; `nats_org` finds the others."""


def render(agent: Agent, org: Org) -> dict[str, str]:
    """The text of each file of an agent, by file name.

    The role's part comes from its folder (`role-ceo`: souls/ceo), else from souls/default. Raises Missing if the
    installation lacks the templates, InvalidInput if one has an unknown placeholder or comes out too long.
    """
    values = _values(agent, org)
    made = {}
    for name in FILES:
        part = _fill(_read(role_file(agent.role, name) or asset_folder("souls") / NEUTRAL / name), name, values)
        made[name] = _fill(_read(asset_folder("souls") / COMMON / name), name, values | {"part": part.strip()})
    return made


def role_file(role: str, name: str) -> Path | None:
    """A file of a role's own folder; None if the role has none of that name."""
    path = asset_folder("souls") / role.removeprefix("role-") / name
    return path if path.is_file() else None


def write(workspace: Path, files: Mapping[str, str], force: bool = False) -> list[str]:
    """Write the files into a workspace. Returns a unified diff for each file that somebody has changed.

    Such a file is overwritten only with `force`; its diff is returned all the same. A file that is as clawbus wrote it
    follows the org file.
    """
    workspace.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = differences(workspace, files)
    taken = {name: text for name, text in files.items() if force or name not in found}
    record = json.dumps(_wrote(workspace) | {name: _digest(text) for name, text in taken.items()}, indent=1) + "\n"
    for name, text in {**taken, _RECORD: record}.items():
        path = workspace / name
        if not path.exists() or path.read_text("utf-8", errors="replace") != text:
            _replace(path, text)
    return list(found.values())


def differences(workspace: Path, files: Mapping[str, str]) -> dict[str, str]:
    """A unified diff for each file of a workspace that somebody has changed, by name. Writes nothing."""
    found, wrote = {}, _wrote(workspace)
    for name, text in files.items():
        path = workspace / name
        present = path.read_text("utf-8", errors="replace") if path.exists() else None
        if present is not None and present != text and _digest(present) != wrote.get(name):
            found[name] = _diff(path, present, text)
    return found


def _wrote(workspace: Path) -> dict[str, str]:
    """The digest of each file as clawbus wrote it, by name; empty if there is no record, or none that can be read."""
    try:
        record = json.loads((workspace / _RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _values(agent: Agent, org: Org) -> dict[str, str]:
    return {
        "name": _one_line(agent.name) or agent.id,
        "id": agent.id,
        "company": org.company,
        "role": agent.role,
        "team": agent.team,
        "superior": org.superior(agent.id) or "nobody",
        "specialization": _one_line(agent.specialization) or "none given",
        "personality": _one_line(agent.personality) or "none given",
        "facts": "\n".join(f"- {fact}" for fact in _facts(agent, org)),
        "peers": _peers(agent, org),
    }


def _facts(agent: Agent, org: Org) -> Iterator[str]:
    """The agent's place in the company, one line a fact."""
    above = [f"{name} (a person)" if name in org.people else name for name in org.chain(agent.id)]
    yield f"Above you, nearest first: {', '.join(above)}."
    below = _names(other.id for other in org.agents if other.reports_to == agent.id)
    if below:
        yield f"To you report: {below}."
    team = _names(name for name in org.members(agent.team) if name != agent.id)
    yield f"Team {agent.team}: you and {team}." if team else f"Team {agent.team}: only you."
    for pool in org.pools:
        if agent.id in pool.members:
            others = _names(name for name in pool.members if name != agent.id) or "nobody else yet"
            yield f"Pool {pool.id}: you and {others}. A task for the pool goes to one of you."
    topics = _names(topic.topic + " (each message wakes you)" * topic.wake for topic in agent.subscriptions)
    if topics:
        yield f"Topics you hear: {topics}."


def _names(names: Iterable[str]) -> str:
    return ", ".join(names)


def _peers(agent: Agent, org: Org) -> str:
    """One line for each peer: its superiors, its team and its reports first."""
    near = {*org.chain(agent.id), *org.members(agent.team)}
    others = [other for other in org.agents if other.id != agent.id]
    others.sort(key=lambda other: other.id not in near and other.reports_to != agent.id)
    lines = [_peer(other) for other in others[:_PEERS]]
    if len(others) > _PEERS:
        lines.append(f"- And {len(others) - _PEERS} more: `nats_org` finds them by role, team or skill.")
    lines += [f"- {human.id}: {_one_line(human.name) or human.id}, a person" for human in org.humans]
    return "\n".join(lines)


def _peer(other: Agent) -> str:
    about = f": {_brief(other.specialization)}" if other.specialization else ""
    return f"- {other.id}: {_one_line(other.name) or other.id}, {other.role}, team {other.team}{about}"


def _brief(text: str) -> str:
    # Forty peers stand in one file, of which OpenClaw reads 20,000 characters.
    line = _one_line(text)
    return line if len(line) <= _PEER_CHARS else f"{line[:_PEER_CHARS].rstrip()}…"


def _one_line(text: str) -> str:
    # The org file's texts become part of a prompt: on one line a text cannot begin a section of its own.
    return " ".join(text.split())


def _read(path: Path) -> str:
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
    """Replace a file as a whole."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(text, "utf-8")
    scratch.replace(path)
