"""A company's processes on this machine, under one supervisor: server, steward, scripted model, gateways, nodes."""

from clawbus.running.asked import ask_up, asked, survive_questions
from clawbus.running.services import SERVER, Plan, model_port, planned_model_url
from clawbus.running.upkeep import reconcile, running

__all__ = [
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
