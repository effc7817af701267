"""`clawbus up`: the company's processes on this machine, under one supervisor.

They are nats-server, steward, registrar or leaf, scripted model, gateways and nodes.
"""

from clawbus.ops.up.control_file import answer_questions, ask_up, survive_questions
from clawbus.ops.up.reconcile import reconcile, running
from clawbus.ops.up.services import GATEWAY, SERVER, ServicePlan, model_port, planned_model_url

__all__ = [
    "GATEWAY",
    "SERVER",
    "ServicePlan",
    "answer_questions",
    "ask_up",
    "model_port",
    "planned_model_url",
    "reconcile",
    "running",
    "survive_questions",
]
