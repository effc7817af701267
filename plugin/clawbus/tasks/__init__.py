"""The requester's side of a task: give it away, follow it, cancel it, read its end."""

from clawbus.tasks.board import TaskView, fold
from clawbus.tasks.envelopes import (
    MAX_HOPS,
    NOTIFY,
    STEER,
    NewTask,
    cancellation,
    control,
    make_task,
    said_to,
    team_note,
)
from clawbus.tasks.following import Following
from clawbus.tasks.history import History
from clawbus.tasks.requests import Requester

__all__ = [
    "MAX_HOPS",
    "NOTIFY",
    "STEER",
    "Following",
    "History",
    "NewTask",
    "Requester",
    "TaskView",
    "cancellation",
    "control",
    "fold",
    "make_task",
    "said_to",
    "team_note",
]
