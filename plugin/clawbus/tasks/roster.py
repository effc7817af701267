"""Who is online: what agents' nodes say of themselves on `<company>.presence.<agent>`, not kept anywhere.

An agent is online while its node has said within three periods that its gateway is ready.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from clawbus.errors import WireError
from clawbus.org import Agent, Gateway, Org
from clawbus.wire.strict_json import read_object
from clawbus.wire.subjects import Subjects

PERIOD_S = 5.0
_MOST_BUSY = 9999
_WHY_CHARS = 300
_VERSION = re.compile(r"[0-9A-Za-z.+-]{1,64}")


class Spoken(Protocol):
    """What was heard."""

    @property
    def subject(self) -> str: ...
    @property
    def data(self) -> bytes: ...
    @property
    def headers(self) -> Mapping[str, str] | None: ...


@dataclass(frozen=True, slots=True)
class Unwell:
    """An agent whose turns fail before a model is asked. `why`: its gateway's words; they are others' text."""

    needs_person: bool
    restarts: int
    why: str


def remedy(gateway: Gateway, unwell: Unwell) -> str:
    """What a person is to do about the gateway of such an agent."""
    if not gateway.own:
        return f"Restart it: end the OpenClaw gateway on port {gateway.port} and start it again, or its service."
    if not unwell.restarts:
        return "Restart it: `clawbus up`, on its machine; if that runs, end it and start it again."
    return (
        f"`clawbus up` has restarted it {unwell.restarts} times, which did not help. Look at .clawbus/logs/gateway-"
        f"{gateway.id}.log, and at the settings and the key of its model; then `clawbus apply`."
    )


class Roster:
    """Fed with every presence message that is heard."""

    def __init__(self, subjects: Subjects) -> None:
        self._subjects = subjects
        self._heard: dict[str, tuple[float, dict[str, Any]]] = {}

    def on_presence(self, message: Spoken) -> bool:
        """Take in one message. True if it asks everyone to answer with theirs.

        Nodes say it without headers. What has some is an answer of the server that somebody has aimed here: a person's
        key can have a stored message of his own sent to any subject that people and stewards hear (`DIRECT.GET`).
        """
        if message.headers:
            return False
        subject, data = message.subject, message.data
        try:
            parsed = self._subjects.parse(subject)
            said = read_object(data)
        except WireError:
            return False
        if parsed.channel == "roll":
            return True
        if parsed.channel == "presence" and isinstance(said.get("ready"), bool):  # else an answer that was aimed here
            self._heard[parsed.sender] = (time.monotonic(), said)
        return False

    def online(self, agent: str) -> bool:
        at, said = self._heard.get(agent, (0.0, {}))
        return bool(said.get("ready")) and time.monotonic() - at < 3 * PERIOD_S

    def has_heard(self, agents: Iterable[str]) -> bool:
        """Whether every one of these has been heard, ready or not."""
        return all(agent in self._heard for agent in agents)

    def busy(self, agent: str) -> int:
        """Tasks that it has in hand, as its node last said."""
        said = self.said(agent).get("busy")
        return min(max(said, 0), _MOST_BUSY) if isinstance(said, int) else 0

    def version(self, agent: str) -> str:
        """Of the clawbus that its node runs, as its node last said; empty for what is none."""
        said = self.said(agent).get("version")
        return said if isinstance(said, str) and _VERSION.fullmatch(said) else ""

    def unwell(self, agent: str) -> Unwell | None:
        """Why its turns come to no model, if its node has just said so. What is malformed says nothing."""
        at, heard = self._heard.get(agent, (0.0, {}))
        said = heard.get("unwell")
        if not isinstance(said, dict) or time.monotonic() - at >= 3 * PERIOD_S:
            return None
        restarts, why = said.get("restarts"), said.get("why")
        count = min(max(restarts, 0), _MOST_BUSY) if isinstance(restarts, int) else 0
        return Unwell(said.get("by") != "up", count, str(why or "")[:_WHY_CHARS])

    def said(self, agent: str) -> dict[str, Any]:
        """What an agent's node last said of it: gateway, ready, busy, version, role, team, skills, model."""
        return self._heard.get(agent, (0.0, {}))[1]


ASK = json.dumps({"v": 1}).encode()


def presence(
    org: Org,
    agent: Agent,
    ready: bool,
    busy: int,
    version: str,
    state: str,
    unwell: dict[str, Any] | None = None,
) -> bytes:
    """What a node says of an agent. `busy`: tasks that it has in hand; `state`: whether people have stopped it.

    `unwell`: its turns fail before a model is asked (`node.mending`); such an agent is not online.
    """
    ready = ready and unwell is None
    said = {"v": 1, "gateway": agent.gateway, "ready": ready, "busy": busy, "version": version, "state": state}
    said |= {"role": agent.role, "team": agent.team, "skills": list(agent.skills), "model": org.model_of(agent)}
    return json.dumps(said | ({"unwell": unwell} if unwell else {})).encode()
