"""Tasks as every process knows them: envelopes, ends, the board, budgets, halts, insights, artifacts."""

from clawbus.tasks.board import TaskView, fold
from clawbus.tasks.end_watcher import Following
from clawbus.tasks.history import History
from clawbus.tasks.new_task import (
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

__all__ = [
    "MAX_HOPS",
    "NOTIFY",
    "STEER",
    "Following",
    "History",
    "NewTask",
    "TaskView",
    "cancellation",
    "control",
    "fold",
    "make_task",
    "said_to",
    "team_note",
]
