"""The requester's side of a task: give it away, follow it, cancel it, read its end."""

from clawbus.tasks.board import TaskView, fold
from clawbus.tasks.history import History
from clawbus.tasks.requests import NewTask, Requester, make_task

__all__ = ["History", "NewTask", "Requester", "TaskView", "fold", "make_task"]
