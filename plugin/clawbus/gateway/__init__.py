"""The only package that knows OpenClaw: its RPC, its turns, its settings, its plugins."""

from clawbus.gateway.active_runs import ActiveRuns, active
from clawbus.gateway.announce import Announcements
from clawbus.gateway.bus_runs import BusRuns
from clawbus.gateway.chat_channel import ChatChannel
from clawbus.gateway.fitness import Fitness
from clawbus.gateway.rpc import GatewayRpc
from clawbus.gateway.session_key import SessionKey, bus_session
from clawbus.gateway.session_lineage import is_spawned, spawner
from clawbus.gateway.transcript import KEY_PREFIX
from clawbus.gateway.turns import TurnLost, TurnResult, Turns
from clawbus.gateway.usage import tokens_of
from clawbus.gateway.workspaces import workspace_of

__all__ = [
    "KEY_PREFIX",
    "ActiveRuns",
    "Announcements",
    "BusRuns",
    "ChatChannel",
    "Fitness",
    "GatewayRpc",
    "SessionKey",
    "TurnLost",
    "TurnResult",
    "Turns",
    "active",
    "bus_session",
    "is_spawned",
    "spawner",
    "tokens_of",
    "workspace_of",
]
