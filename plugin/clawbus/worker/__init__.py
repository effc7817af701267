"""Doing the tasks of the bus: take one for a free slot, run it as a turn, write its one end, tell, acknowledge."""

from clawbus.worker.worker import Worker

__all__ = ["Worker"]
