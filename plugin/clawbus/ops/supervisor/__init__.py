"""The supervisor: it starts a company's processes, restarts those that die, and ends all in reverse order."""

from clawbus.ops.supervisor.child import Service
from clawbus.ops.supervisor.supervisor import Supervisor

__all__ = ["Service", "Supervisor"]
