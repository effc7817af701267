"""Doing the tasks of the bus: take one for a free slot, run it as a turn, write its one end, tell, acknowledge."""

from clawbus.worker.attempts import Attempts
from clawbus.worker.doer import Doer, Door, bounded, result
from clawbus.worker.lessons import Lessons
from clawbus.worker.metering import Metered
from clawbus.worker.notify import Notifier
from clawbus.worker.obedient import Obedient
from clawbus.worker.steering import Steering, deaf
from clawbus.worker.worker import Worker

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
