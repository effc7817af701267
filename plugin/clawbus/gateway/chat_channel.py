"""Messages on a chat channel of the gateway, by its RPC `send`.

Source: OpenClaw docs/gateway/protocol/rpc-system-and-channels.md, and the answers of a real gateway.
"""

from __future__ import annotations

from clawbus.errors import NotBegun, Refused
from clawbus.gateway.openclaw_words import lacks_account
from clawbus.gateway.rpc import GatewayRpc


class ChatChannel:
    """Sends texts without a turn of a model."""

    def __init__(self, rpc: GatewayRpc) -> None:
        self._rpc = rpc

    async def say(self, agent: str, channel: str, to: str, text: str, key: str) -> None:
        """Send a text to `to`, a name of the channel. The gateway sends each `key` once in its life.

        Raises GatewayAway, or Refused with the gateway's words if it has no such channel.
        """
        params = {"agentId": agent, "channel": channel, "to": to, "message": text, "idempotencyKey": key}
        try:
            await self._rpc.call("send", params)
        except NotBegun as error:
            if lacks_account(error.message):  # waiting does not help
                raise Refused(error.message, "Configure the channel: openclaw channels add") from None
            raise
