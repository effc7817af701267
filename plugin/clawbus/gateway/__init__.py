"""OpenClaw for the other packages: its RPC, turns, settings and plugins. No other package knows it."""

from clawbus.gateway.active_runs import ActiveRuns, list_active_runs
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
    "bus_session",
    "is_spawned",
    "list_active_runs",
    "spawner",
    "tokens_of",
    "workspace_of",
]
