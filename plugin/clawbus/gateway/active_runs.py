"""Which turns run on a gateway now that the bus has begun: also those that this node does not know of any more."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from clawbus.gateway.rpc import GatewayRpc
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
        key = str(row.get("key"))
        parts = key.split(":")
        if len(parts) < 3 or parts[0] != "agent" or parts[1] not in agents:
            continue
        if parts[2] == "nats":
            found.append(ActiveRuns(key, parts[1], ()))
        elif runs := tuple(one for one in row.get("activeRunIds") or () if str(one).startswith(KEY_PREFIX)):
            found.append(ActiveRuns(key, parts[1], runs))
    return found
