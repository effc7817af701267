"""What a run has used of its model, as the gateway tells it.

Of OpenClaw 2026.9.6 it is known: `inputTokens` and `outputTokens` of `sessions.describe` are those of all model
requests of the session's last run (`lastRunId`), not of the whole session; `agent.wait` does not say them.
"""

from __future__ import annotations

import asyncio

from clawbus.gateway.rpc import GatewayRpc

_LOOKS = 5
_AGAIN_S = 0.2


async def tokens_of(rpc: GatewayRpc, session_key: str, key: str) -> int | None:
    """Input and output tokens of the run of `key`; None if the gateway does not tell. Raises GatewayAway, Refused.

    A session in which another run came after it, such as one for the answer to a blocker, tells of that one.
    """
    told: int | None = None
    for _ in range(_LOOKS):
        row = (await rpc.call("sessions.describe", {"key": session_key})).get("session") or {}
        numbers = [row.get(name) for name in ("inputTokens", "outputTokens")]
        known = [number for number in numbers if isinstance(number, int) and number >= 0]
        told = sum(known) if known else None
        if told is not None and row.get("lastRunId") == key:
            break
        await asyncio.sleep(_AGAIN_S)
    return told
