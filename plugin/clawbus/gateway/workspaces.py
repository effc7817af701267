"""The folder of an agent's files, as its gateway gives it (`agents.files.list`, OpenClaw docs/gateway/protocol)."""

from __future__ import annotations

from pathlib import Path

from clawbus.errors import GatewayAway, Refused
from clawbus.gateway.rpc import GatewayRpc


async def workspace_of(rpc: GatewayRpc, agent: str) -> Path | None:
    """An agent's workspace; None while the gateway is away, or if it does not know the agent."""
    try:
        folder = (await rpc.call("agents.files.list", {"agentId": agent})).get("workspace")
    except (GatewayAway, Refused):
        return None
    return Path(folder) if isinstance(folder, str) and folder.startswith("/") else None
