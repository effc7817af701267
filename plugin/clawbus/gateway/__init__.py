"""The only package that knows OpenClaw: its RPC, its turns, its settings, its plugins."""

from clawbus.gateway.rpc import GatewayRpc
from clawbus.gateway.turns import TurnLost, TurnResult, Turns

__all__ = ["GatewayRpc", "TurnLost", "TurnResult", "Turns"]
