"""Which turns run on a gateway now that the bus has begun: also those that this node does not know of any more."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from clawbus.gateway.rpc import GatewayRpc
from clawbus.gateway.session_key import SessionKey
from clawbus.gateway.transcript import KEY_PREFIX

_MOST = 1_000


@dataclass(frozen=True, slots=True)
class ActiveRuns:
    """A session in which such a turn runs or is queued. `runs`: its run ids; none: all of the session is the bus's."""

    session_key: str
    agent: str
    runs: tuple[str, ...]


async def active(rpc: GatewayRpc, agents: Collection[str]) -> list[ActiveRuns]:
    """Of these agents: all that runs in sessions of the bus, and in a user's session the runs that the bus began there.

    `activeRunIds` is the exact set (OpenClaw docs/gateway/protocol/rpc-session-control). Raises GatewayAway, Refused.
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
        elif runs := tuple(one for one in row.get("activeRunIds") or () if str(one).startswith(KEY_PREFIX)):
            found.append(ActiveRuns(text, key.agent, runs))
    return found
