"""The only package that knows OpenClaw: its RPC, its turns, its settings, its plugins."""

from clawbus.gateway.active_runs import Active, active
from clawbus.gateway.announce import Waking
from clawbus.gateway.bus_runs import Begun
from clawbus.gateway.chat_channel import Speaking
from clawbus.gateway.fitness import Fitness
from clawbus.gateway.rpc import GatewayRpc
from clawbus.gateway.session_lineage import is_spawned, spawner
from clawbus.gateway.transcript import KEY_PREFIX
from clawbus.gateway.turns import TurnLost, TurnResult, Turns
from clawbus.gateway.usage import tokens_of
from clawbus.gateway.workspaces import workspace_of

__all__ = [
    "KEY_PREFIX",
    "Active",
    "Begun",
    "Fitness",
    "GatewayRpc",
    "Speaking",
    "TurnLost",
    "TurnResult",
    "Turns",
    "Waking",
    "active",
    "is_spawned",
    "spawner",
    "tokens_of",
    "workspace_of",
]
