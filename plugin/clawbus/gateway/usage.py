"""The tokens that a run has used.

In OpenClaw 2026.9.6 `inputTokens` and `outputTokens` of `sessions.describe` are those of all model requests of the
session's last run (`lastRunId`), not of the whole session. `agent.wait` does not give them.
"""

from __future__ import annotations

import asyncio

from clawbus.gateway.rpc import GatewayRpc

_LOOKS = 5
_LOOK_S = 0.2


async def tokens_of(rpc: GatewayRpc, session_key: str, key: str) -> int | None:
    """Input and output tokens of the run of `key`; None if the gateway does not give them.

    If another run came after it, such as one for the answer to a blocker, they are those of that run. Raises
    GatewayAway, Refused.
    """
    tokens: int | None = None
    for _ in range(_LOOKS):
        row = (await rpc.call("sessions.describe", {"key": session_key})).get("session") or {}
        numbers = [row.get(name) for name in ("inputTokens", "outputTokens")]
        known = [number for number in numbers if isinstance(number, int) and number >= 0]
        tokens = sum(known) if known else None
        if tokens is not None and row.get("lastRunId") == key:
            break
        await asyncio.sleep(_LOOK_S)
    return tokens
