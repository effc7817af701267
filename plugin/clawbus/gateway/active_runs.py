"""The turns that the bus has begun and that run now, also those that this node no longer knows of."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from clawbus.gateway.rpc import GatewayRpc
from clawbus.gateway.session_key import SessionKey
from clawbus.gateway.transcript import KEY_PREFIX

_MOST = 1_000


@dataclass(frozen=True, slots=True)
class ActiveRuns:
    """A session with such a turn, running or queued. `runs`: its run ids; none if all of the session is the bus's."""

    session_key: str
    agent: str
    runs: tuple[str, ...]


async def list_active_runs(rpc: GatewayRpc, agents: Collection[str]) -> list[ActiveRuns]:
    """The sessions of these agents in which the bus has something to do. Raises GatewayAway, Refused.

    In a user's session that is only the runs that the bus began there. Source: `activeRunIds` is the exact set
    (OpenClaw docs/gateway/protocol/rpc-session-control).
    """
    answer = await rpc.call("sessions.list", {"activeOnly": True, "limit": _MOST})
    found = []
    for row in answer.get("sessions") or ():
        text = str(row.get("key"))
        key = SessionKey.parse(text)
        if key is None or key.agent not in agents:
            continue
        if SessionKey.of_bus(text):
            found.append(ActiveRuns(text, key.agent, ()))
        elif runs := tuple(run for run in row.get("activeRunIds") or () if str(run).startswith(KEY_PREFIX)):
            found.append(ActiveRuns(text, key.agent, runs))
    return found
