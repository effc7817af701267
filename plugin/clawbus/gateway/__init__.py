"""The only package that knows OpenClaw: its RPC, its turns, its settings, its plugins."""

from clawbus.gateway.rpc import GatewayRpc
from clawbus.gateway.speaking import Speaking
from clawbus.gateway.transcript import KEY_PREFIX
from clawbus.gateway.turns import TurnLost, TurnResult, Turns
from clawbus.gateway.waking import Waking
from clawbus.gateway.workspaces import workspace_of

__all__ = ["KEY_PREFIX", "GatewayRpc", "Speaking", "TurnLost", "TurnResult", "Turns", "Waking", "workspace_of"]
