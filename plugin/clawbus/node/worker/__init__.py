"""Doing the tasks of the bus: take one for a free slot, run it as a turn, write its one end, tell, acknowledge."""

from clawbus.node.worker.chat_notifier import Notifier
from clawbus.node.worker.executor import Doer, Door, bounded, result
from clawbus.node.worker.haltable_executor import Obedient
from clawbus.node.worker.insights import Lessons
from clawbus.node.worker.metered_executor import Metered
from clawbus.node.worker.openclaw_executor import Attempts
from clawbus.node.worker.steering import Steering, deaf
from clawbus.node.worker.worker import Worker

__all__ = [
    "Attempts",
    "Doer",
    "Door",
    "Lessons",
    "Metered",
    "Notifier",
    "Obedient",
    "Steering",
    "Worker",
    "bounded",
    "deaf",
    "result",
]
