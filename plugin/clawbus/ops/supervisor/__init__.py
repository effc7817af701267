"""Keeps a company's processes running: starts them, restarts what dies, ends them all in reverse order."""

from clawbus.ops.supervisor.child import Service
from clawbus.ops.supervisor.supervisor import Supervisor

__all__ = ["Service", "Supervisor"]
