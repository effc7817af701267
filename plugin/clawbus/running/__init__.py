"""A company's processes on this machine, under one supervisor: server, steward, scripted model, gateways, nodes."""

from clawbus.running.services import GATEWAY, SERVER, Plan, model_port, planned_model_url
from clawbus.running.upkeep import reconcile, running
from clawbus.supervisor.asked import ask_up, asked, survive_questions

__all__ = [
    "GATEWAY",
    "SERVER",
    "Plan",
    "ask_up",
    "asked",
    "model_port",
    "planned_model_url",
    "reconcile",
    "running",
    "survive_questions",
]
