"""Every error that clawbus raises, named by what the caller does next.

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
    │   ├── BacklogFull
    │   └── OverBudget
    ├── EndConflict       somebody else wrote the task's end first       (internal)
    └── WireError         bytes from the bus that are no envelope        (internal)
        └── Unverified    no signature of its sender, or not for this    (internal)

Exit code 1 is no error: a task that ended, and not with "done"; a check of `clawbus doctor` that failed.

A foreign exception becomes one of these at one boundary: nats in `bus`, websockets in `gateway`,
sqlite3 in `ledger`, pydantic where a model is parsed.
"""

from __future__ import annotations

from pathlib import Path


class ClawbusError(Exception):
    """A sentence for a person, and the remedy: what to do or run next."""

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n{self.remedy}" if self.remedy else self.message


class InvalidInput(ClawbusError):
    """A value that is refused before anything is sent. `field` and `value` are for programs."""

    exit_code = 2

    def __init__(self, field: str, value: object, problem: str, remedy: str = "") -> None:
        shown = repr(value)
        if len(shown) > 80:
            shown = f"{shown[:60]}… ({len(shown)} characters)"
        super().__init__(f"{field} = {shown}: {problem}", remedy)
        self.field = field
        self.value = value


class Missing(ClawbusError):
    """Something this machine lacks: a program, a version, a free port."""

    exit_code = 3


class NotFound(ClawbusError):
    """No such task, agent or company."""

    exit_code = 4


class Away(ClawbusError):
    """The other side is not there now. Nothing was lost; try again later."""

    exit_code = 5


class BusAway(Away):
    """nats-server did not answer in time."""

    why = "the bus is away"
    """The same in a clause, for a sentence that goes on."""


class NotKept(BusAway):
    """nats-server is there, and has not written down what was said."""

    why = "the nats-server answers, but keeps nothing now"


class DiskFull(NotKept):
    """The disk under `folder` is full: what is said now would not be kept."""

    def __init__(self, folder: Path, what: str) -> None:
        """`what`: what became of that which was to be written; a clause."""
        self.folder = folder
        self.why = f"the disk of {folder} is full"
        remedy = "A person has to free space there (`df -h` and `du` say what takes it). Then it goes on by itself."
        super().__init__(f"{self.why}; {what}", remedy)


class BusFull(BusAway):
    """nats-server is there, and lets nobody else in: too many are connected, with keys of one kind or in all."""


class GatewayAway(Away):
    """The OpenClaw gateway is down, starting or draining."""


class NotBegun(GatewayAway):
    """The call did not reach the gateway, or it took none: nothing of it has happened."""


class NodeAway(Away):
    """No clawbus node listens on the socket."""


class Halted(Away):
    """People have stopped the company: what was to begin waits."""


class Refused(ClawbusError):
    """A rule said no, and saying it again does not help."""

    exit_code = 6
    code = 0
    """The err_code of nats-server's answer, if it was that which said no."""


class BacklogFull(Refused):
    """The receiver has as many waiting tasks of this sender as the quota allows. Each that ends makes room for one."""

    retry_after_s = 60
    """A turn takes from seconds to minutes: sooner, a retry is mostly in vain."""

    def count(self, waiting: int, to: str, priority: str = "") -> None:
        """Say it in numbers, for a model or a person; the server says only that it is full."""
        tasks = f"{priority} tasks" if priority else "tasks"
        self.message = f"backlog full, {waiting} waiting: {to} has so many {tasks} of yours; nothing was sent"
        self.remedy = f"Retry after {self.retry_after_s} s, or as soon as one of them has ended."


class OverBudget(Refused):
    """A tree of tasks has used what it may. `trace`: its first task. Only a person can allow it more."""

    def __init__(self, trace: str, exceeded: str) -> None:
        """`exceeded`: the part of the budget that is used up, in words (`tasks.budget.Tree.exceeded`)."""
        super().__init__(
            f"the budget of this tree of tasks is used up ({exceeded}); nothing was sent",
            f"Answer with what you have. A person can allow it more: clawbus budget {trace} --raise turns=20",
        )
        self.trace = trace
        self.exceeded = exceeded


class EndConflict(ClawbusError):
    """The stream already holds an end for this task (first write wins)."""


class WireError(ClawbusError):
    """Bytes that are no envelope. The message is never redelivered: it would fail again."""


class Unverified(WireError):
    """A message without a valid signature of its sender: it is shown to nobody, counted, and alarmed.

    Its text begins with the kind: unsigned, forged, re-addressed, replayed.
    """

    @property
    def kind(self) -> str:
        return self.message.partition(":")[0]
