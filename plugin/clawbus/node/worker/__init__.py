"""Doing the tasks of the bus: take one for a free slot, run it as a turn, write its one end, tell, acknowledge."""

from clawbus.node.worker.chat_notifier import ChatNotifier
from clawbus.node.worker.control_handler import ControlHandler
from clawbus.node.worker.executor import Availability, Executor, Slots, bounded, result
from clawbus.node.worker.haltable_executor import HaltableExecutor
from clawbus.node.worker.insights import Insights
from clawbus.node.worker.metered_executor import MeteredExecutor
from clawbus.node.worker.openclaw_executor import OpenClawExecutor
from clawbus.node.worker.steering import Steering, deaf
from clawbus.node.worker.worker import Worker

__all__ = [
    "Availability",
    "ChatNotifier",
    "ControlHandler",
    "Executor",
    "HaltableExecutor",
    "Insights",
    "MeteredExecutor",
    "OpenClawExecutor",
    "Slots",
    "Steering",
    "Worker",
    "bounded",
    "deaf",
    "result",
]
