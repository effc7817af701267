"""Saying something on a chat channel of the gateway: its RPC `send`.

Source: OpenClaw docs/gateway/protocol/rpc-system-and-channels.md, and the answers of a real gateway.
"""

from __future__ import annotations

from clawbus.errors import NotBegun, Refused
from clawbus.gateway.rpc import GatewayRpc

_NO_ACCOUNT = "Outbound not configured for channel"
"""What OpenClaw 2026.9.6 says of a channel that it knows, but has no account of."""


class ChatChannel:
    """Direct deliveries, without a turn of a model."""

    def __init__(self, rpc: GatewayRpc) -> None:
        self._rpc = rpc

    async def say(self, agent: str, channel: str, to: str, text: str, key: str) -> None:
        """Send a text to `to`, as the channel names people. The same `key` is sent once while the gateway lives.

        Raises GatewayAway, or Refused with the gateway's words where it has no such channel.
        """
        params = {"agentId": agent, "channel": channel, "to": to, "message": text, "idempotencyKey": key}
        try:
            await self._rpc.call("send", params)
        except NotBegun as error:
            if _NO_ACCOUNT in error.message:  # answered as UNAVAILABLE, but waiting does not help
                raise Refused(error.message, "Configure the channel: openclaw channels add") from None
            raise
