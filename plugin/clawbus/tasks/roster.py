"""The roster: which agents are online. Nodes publish the presence of their agents; no stream keeps it.

An agent is online if its node has published within three periods, on `<company>.presence.<agent>`, that its gateway is
ready.
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
    """A received message."""

    @property
    def subject(self) -> str: ...
    @property
    def data(self) -> bytes: ...
    @property
    def headers(self) -> Mapping[str, str] | None: ...


@dataclass(frozen=True, slots=True)
class Unwell:
    """The state of an agent whose turns fail before a model is asked. `why`: its gateway's words, which are data."""

    needs_person: bool
    restarts: int
    why: str


def remedy(gateway: Gateway, unwell: Unwell) -> str:
    """A sentence about what a person is to do about the gateway of an unwell agent."""
    if not gateway.own:
        return f"Restart it: end the OpenClaw gateway on port {gateway.port} and start it again, or its service."
    if not unwell.restarts:
        return "Restart it: `clawbus up`, on its machine; if that runs, end it and start it again."
    return (
        f"`clawbus up` has restarted it {unwell.restarts} times, which did not help. Look at .clawbus/logs/gateway-"
        f"{gateway.id}.log, and at the settings and the key of its model; then `clawbus apply`."
    )


class Roster:
    """The last presence of each agent. Call `on_presence` with every message."""

    def __init__(self, subjects: Subjects) -> None:
        self._subjects = subjects
        self._heard: dict[str, tuple[float, dict[str, Any]]] = {}

    def on_presence(self, message: Spoken) -> bool:
        """Add one message. True if it is a roll call, which everyone answers with its presence."""
        # Nodes send no headers. A message with headers is an answer of the server that somebody has aimed here: with a
        # person's key it can send a stored message to any subject that people and stewards hear (`DIRECT.GET`).
        if message.headers:
            return False
        subject, data = message.subject, message.data
        try:
            parsed = self._subjects.parse(subject)
            body = read_object(data)
        except WireError:
            return False
        if parsed.channel == "roll":
            return True
        if parsed.channel == "presence" and isinstance(body.get("ready"), bool):  # else it is such an answer, too
            self._heard[parsed.sender] = (time.monotonic(), body)
        return False

    def online(self, agent: str) -> bool:
        at, body = self._heard.get(agent, (0.0, {}))
        return bool(body.get("ready")) and time.monotonic() - at < 3 * PERIOD_S

    def has_heard(self, agents: Iterable[str]) -> bool:
        """True if each of these has published its presence within three periods, ready or not."""
        return all(time.monotonic() - self._heard.get(agent, (float("-inf"), {}))[0] < 3 * PERIOD_S for agent in agents)

    def busy(self, agent: str) -> int:
        """The tasks that it has in hand, by its last presence."""
        count = self.last(agent).get("busy")
        return min(max(count, 0), _MOST_BUSY) if isinstance(count, int) else 0

    def version(self, agent: str) -> str:
        """The version of clawbus that its node runs, by its last presence; empty if that names none."""
        version = self.last(agent).get("version")
        return version if isinstance(version, str) and _VERSION.fullmatch(version) else ""

    def unwell(self, agent: str) -> Unwell | None:
        """The unwell state of an agent, if its presence has named it within three periods; None if not."""
        at, body = self._heard.get(agent, (0.0, {}))
        state = body.get("unwell")
        if not isinstance(state, dict) or time.monotonic() - at >= 3 * PERIOD_S:
            return None
        restarts, why = state.get("restarts"), state.get("why")
        count = min(max(restarts, 0), _MOST_BUSY) if isinstance(restarts, int) else 0
        return Unwell(state.get("by") != "up", count, str(why or "")[:_WHY_CHARS])

    def last(self, agent: str) -> dict[str, Any]:
        """The last presence of an agent: gateway, ready, busy, version, role, team, skills, model."""
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
    """The presence message of an agent. `busy`: the tasks that it has in hand. `state`: its halt state.

    `unwell`: its turns fail before a model is asked; such an agent is not online.
    """
    ready = ready and unwell is None
    body = {"v": 1, "gateway": agent.gateway, "ready": ready, "busy": busy, "version": version, "state": state}
    body |= {"role": agent.role, "team": agent.team, "skills": list(agent.skills), "model": org.model_of(agent)}
    return json.dumps(body | ({"unwell": unwell} if unwell else {})).encode()
