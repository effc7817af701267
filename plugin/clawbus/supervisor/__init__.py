"""Keeps a company's processes running: starts them, restarts what dies, ends them all in reverse order."""

from clawbus.supervisor.child import Service
from clawbus.supervisor.supervisor import Supervisor

__all__ = ["Service", "Supervisor"]
