"""The errors that clawbus raises, named by what the caller does next.

    ClawbusError
    ├── InvalidInput      mend the named field and call again            exit 2
    ├── Missing           install or free what is named, then try again  exit 3
    ├── NotFound          there is no such thing: list what there is     exit 4
    ├── Away              the other side is not there: wait, then retry  exit 5
    │   ├── BusAway
    │   │   ├── NotKept   the server is there, and keeps nothing now
    │   │   │   └── DiskFull
    │   │   └── BusFull
    │   ├── GatewayAway
    │   │   └── NotBegun
    │   ├── NodeAway
    │   └── Halted        people have stopped it: it goes on when they resume it
    ├── Refused           a rule or a quota said no                      exit 6
    │   ├── Forbidden     the key has no right to that subject
    │   ├── BacklogFull
    │   └── OverBudget
    ├── EndConflict       somebody else wrote the task's end first       (internal)
    └── WireError         bytes from the bus that are no envelope        (internal)
        └── Unverified    no signature of its sender, or not for this    (internal)

Exit code 1 is no error: a task has ended, but not with "done", or a check of `clawbus doctor` has failed.

A foreign exception becomes one of these at one boundary: that of nats in `bus`, of websockets in `gateway`, of sqlite3
in `node.ledger`, of pydantic where a model is parsed.
"""

from __future__ import annotations

from pathlib import Path


class ClawbusError(Exception):
    """`message`: a sentence for a person. `remedy`: what to do or run next."""

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n{self.remedy}" if self.remedy else self.message


class InvalidInput(ClawbusError):
    """A value was refused before anything was sent. `field` and `value` are for programs."""

    exit_code = 2

    def __init__(self, field: str, value: object, problem: str, remedy: str = "") -> None:
        shown = repr(value)
        if len(shown) > 80:
            shown = f"{shown[:60]}… ({len(shown)} characters)"
        super().__init__(f"{field} = {shown}: {problem}", remedy)
        self.field = field
        self.value = value


class Missing(ClawbusError):
    """This machine lacks something: a program, a version, a free port."""

    exit_code = 3


class NotFound(ClawbusError):
    """There is no such task, agent or company."""

    exit_code = 4


class Away(ClawbusError):
    """The other side is not there now. Nothing was lost; try again later."""

    exit_code = 5


class BusAway(Away):
    """nats-server did not answer in time."""

    why = "the bus is away"
    """The reason as a clause, for a longer sentence."""


class NotKept(BusAway):
    """nats-server answers, but has not stored the message."""

    why = "the nats-server answers, but keeps nothing now"


class DiskFull(NotKept):
    """The disk under `folder` is full: a message would not be kept."""

    def __init__(self, folder: Path, what: str) -> None:
        """`what`: a clause about what happens to the data that was to be written."""
        self.folder = folder
        self.why = f"the disk of {folder} is full"
        remedy = "A person has to free space there (`df -h` and `du` say what takes it). Then it goes on by itself."
        super().__init__(f"{self.why}; {what}", remedy)


class BusFull(BusAway):
    """nats-server answers, but refuses more connections: too many are open, with keys of one kind or in all."""


class GatewayAway(Away):
    """The OpenClaw gateway is down, starting or draining."""


class NotBegun(GatewayAway):
    """The call did not reach the gateway, or the gateway did not accept it: nothing has happened."""


class NodeAway(Away):
    """No clawbus node listens on the socket."""


class Halted(Away):
    """People have stopped the company, so nothing begins."""


class Refused(ClawbusError):
    """A rule forbids it. Another try does not help."""

    exit_code = 6
    code = 0
    """The err_code of nats-server's answer; 0 if it was not the server that refused."""


class Forbidden(Refused):
    """nats-server does not let this key publish there."""


class BacklogFull(Refused):
    """The receiver has as many queued tasks of this sender as the quota allows. Each end makes room for one."""

    retry_after_s = 60
    """A turn takes from seconds to minutes, so an earlier retry is mostly in vain."""

    def count(self, waiting: int, to: str, priority: str = "") -> None:
        """Put numbers into the message, for a model or a person. The server says only that the queue is full."""
        tasks = f"{priority} tasks" if priority else "tasks"
        self.message = f"backlog full, {waiting} waiting: {to} has so many {tasks} of yours; nothing was sent"
        self.remedy = f"Retry after {self.retry_after_s} s, or as soon as one of them has ended."


class OverBudget(Refused):
    """A tree of tasks has used its budget. `trace`: its first task. Only a person can allow it more."""

    def __init__(self, trace: str, exceeded: str) -> None:
        """`exceeded`: the part of the budget that is used up, in words (`tasks.budget.Tree.exceeded`)."""
        super().__init__(
            f"the budget of this tree of tasks is used up ({exceeded}); nothing was sent",
            f"Answer with what you have. A person can allow it more: clawbus budget {trace} --raise turns=20",
        )
        self.trace = trace
        self.exceeded = exceeded


class EndConflict(ClawbusError):
    """The subject has a newer message than its writer has seen. Of the ends of a task, the first write wins."""


class WireError(ClawbusError):
    """The bytes are no envelope. The message is never redelivered, since it would fail again."""


class Unverified(WireError):
    """The message has no valid signature of its sender. It is shown to nobody and counted, and people are alerted.

    The error's text begins with the kind: unsigned, forged, re-addressed, replayed.
    """

    @property
    def kind(self) -> str:
        return self.message.partition(":")[0]
