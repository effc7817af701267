"""A company's processes on this machine, under one supervisor: server, steward, scripted model, gateways, nodes."""

from clawbus.ops.up.control_file import ask_up, asked, survive_questions
from clawbus.ops.up.reconcile import reconcile, running
from clawbus.ops.up.services import GATEWAY, SERVER, ServicePlan, model_port, planned_model_url

__all__ = [
    "GATEWAY",
    "SERVER",
    "ServicePlan",
    "ask_up",
    "asked",
    "model_port",
    "planned_model_url",
    "reconcile",
    "running",
    "survive_questions",
]
