"""The budget of a tree of tasks: a pure fold over the records on `<company>.spend.<trace>.*`.

A tree is a task and all that was given because of it. Its trace is the id of the first task. Whoever gives a task first
reserves its turn there; afterwards the node that did it records what the turn took. The count of turns is certain,
since nothing starts without its reservation. Minutes and tokens are known only when a turn has ended, so the turns that
run at that moment may come on top.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from clawbus.errors import InvalidInput
from clawbus.org import Org
from clawbus.wire.envelope import Budget, Envelope, now, read_as
from clawbus.wire.subjects import is_task_id, task_id_of

Takers = Callable[[str], Collection[str]]
MEASURES = ("turns", "minutes", "tokens")
_MOST = {"turns": 1_000_000, "minutes": 1_000_000, "tokens": 1_000_000_000_000}
"""The largest number of each that a text may name; [budget] of org.toml has the same bounds."""


class Record(BaseModel):
    """One record of a tree's account. Its writer is the subject's last token.

    `reserved`: a turn for `task`, which is given to `to`. `released`: the task was refused before it was on the bus, so
    it takes no turn. `used`: the minutes that its turn took, and the tokens if the gateway tells. `raised`: a person
    allows the tree more.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    v: int = 1
    kind: Literal["reserved", "released", "used", "raised"]
    task: str = Field(default="", max_length=128)
    to: str = Field(default="", max_length=64)
    parent: str = Field(default="", max_length=128)
    turns: int = Field(default=0, ge=0, le=1_000_000)
    minutes: float = Field(default=0.0, ge=0, le=1e9)
    tokens: int | None = Field(default=None, ge=0, le=1_000_000_000_000)
    budget: Budget | None = None
    """In the reservation that begins a tree: the budget that its requester gives it."""
    at: AwareDatetime = Field(default_factory=now)

    def encode(self) -> bytes:
        return self.model_dump_json(exclude_none=True).encode()


def tree_of(cause: Envelope) -> str:
    """The trace of the tree to which all belongs that follows from a task or a message."""
    for named in (cause.trace_id, cause.task_id if cause.type == "task" else None):
        if is_task_id(named or ""):
            return str(named)
    # A message of the steward or of another program may name no tree. It begins one: all that follows from it has one
    # budget together.
    return task_id_of(hashlib.sha256(cause.id.encode()).digest())


def decode_record(data: bytes) -> Record:
    """Read a record. Raises WireError if it is none."""
    return read_as(Record, data, "record of a budget")


@dataclass(slots=True)
class Reserved:
    """One task of a tree. `minutes` and `tokens` are 0 until a report of its turn names them."""

    task: str
    by: str
    to: str
    parent: str
    at: AwareDatetime
    released: bool = False
    reports: dict[str, Record] = field(default_factory=dict)
    """Worker -> its last `used` record. The same record again changes nothing."""

    @property
    def minutes(self) -> float:
        return sum(report.minutes for report in self.reports.values())

    @property
    def tokens(self) -> int:
        return sum(report.tokens or 0 for report in self.reports.values())


@dataclass(slots=True)
class Tree:
    """A tree, folded from its records in the stream's order. `seq`: the sequence of the last one."""

    trace: str
    seq: int = 0
    tasks: dict[str, Reserved] = field(default_factory=dict)
    releases: int = 0
    asked: Budget = field(default_factory=Budget)
    """The budget that its first requester has given it."""
    raised: Budget = field(default_factory=lambda: Budget(turns=0, minutes=0, tokens=0))
    """The budget that people have added since."""

    def add(self, record: Record, sender: str, people: Collection[str], takers: Takers) -> None:
        """Add a record. A record that its sender may not write changes nothing."""
        task = self.tasks.get(record.task)
        if record.kind == "reserved":
            self._reserve(record, sender, task)
        elif record.kind == "raised":
            if sender in people:
                self.raised = _added(self.raised, record)
        elif task is None:
            return
        elif record.kind == "released":  # not for a task that somebody has worked on
            released = task.by == sender and not task.reports and not task.released
            self.releases += released
            task.released = task.released or released
        elif sender in takers(task.to) and sender != task.by:  # nobody does a task of its own
            task.reports[sender] = record
            task.released = False  # it was released while somebody was at work on it

    def _reserve(self, record: Record, sender: str, task: Reserved | None) -> None:
        if not self.tasks and record.budget is not None:
            self.asked = record.budget
        if task is None:
            self.tasks[record.task] = Reserved(record.task, sender, record.to, record.parent, record.at)
        elif task.by == sender:
            task.released = False

    @property
    def used(self) -> dict[str, float]:
        """Name of MEASURES -> what the tree has used of it."""
        tasks = [task for task in self.tasks.values() if not task.released]
        minutes, tokens = sum(task.minutes for task in tasks), sum(task.tokens for task in tasks)
        return {"turns": len(tasks), "minutes": round(minutes, 2), "tokens": tokens}

    def bound(self, org: Budget, task: Budget | None = None) -> dict[str, int | None]:
        """Name of MEASURES -> what the tree may use of it; None: no bound.

        It is the least of what org.toml, the first requester and `task` allow, and what people have added to it.
        """
        found: dict[str, int | None] = {}
        for name in MEASURES:
            allowed = [getattr(budget, name) for budget in (org, self.asked, task or Budget())]
            least = min((value for value in allowed if value is not None), default=None)
            found[name] = None if least is None else least + (getattr(self.raised, name) or 0)
        return found

    def exceeded(self, org: Budget, task: Budget | None = None) -> str:
        """The part of its budget that a tree has used up, in words; empty while it may give one more task."""
        used, bound = self.used, self.bound(org, task)
        full = [(name, top) for name in MEASURES if (top := bound[name]) is not None and used[name] >= top]
        return ", ".join(f"{used[name]:g} of {top} {name}" for name, top in full)

    def as_json(self, org: Budget) -> dict[str, Any]:
        """For `--json`."""
        tasks = [
            {"task_id": task.task, "from": task.by, "to": task.to, "parent": task.parent or None,
             "at": task.at.isoformat(), "minutes": task.minutes, "tokens": task.tokens, "released": task.released}
            for task in self.tasks.values()
        ]  # fmt: skip
        account = {"used": self.used, "bound": self.bound(org), "over": self.exceeded(org)}
        return {"trace": self.trace, **account, "tasks": tasks}

    def below(self, parent: str) -> Iterator[Reserved]:
        """The tasks that were given in the turn of the task `parent`."""
        return (task for task in self.tasks.values() if task.parent == parent)


def _added(budget: Budget, record: Record) -> Budget:
    return Budget(
        turns=(budget.turns or 0) + record.turns,
        minutes=(budget.minutes or 0) + round(record.minutes),
        tokens=(budget.tokens or 0) + (record.tokens or 0),
    )


def narrowed(outer: Budget | None, inner: Budget | None) -> Budget | None:
    """The budget of a task that asks for `inner`, in the turn of a task that has `outer`: the least of each measure."""
    if outer is None or inner is None:
        return inner if outer is None else outer
    values = {}
    for name in MEASURES:
        allowed = [value for budget in (outer, inner) if (value := getattr(budget, name)) is not None]
        values[name] = min(allowed, default=None)
    return Budget(**values)


def within(org: Org, asked: Budget | None) -> Budget | None:
    """Return the budget that a person gives a tree. Raises InvalidInput if org.toml allows less."""
    for name in MEASURES:
        most, wanted = getattr(org.budget, name), getattr(asked, name, None)
        if wanted is not None and wanted > most:
            remedy = f"Raise [budget] {name} in org.toml, or raise the tree's later: clawbus budget TASK --raise"
            raise InvalidInput("budget", f"{name}={wanted}", f"org.toml allows each tree {most}", remedy)
    return asked


def read_budget(field: str, text: str) -> Budget | None:
    """Parse a budget such as turns=20,minutes=30; None for an empty text. Raises InvalidInput, naming `field`."""
    remedy = f"Write it as turns=20,minutes=30; known: {', '.join(MEASURES)}, each once."
    values: dict[str, int] = {}
    for part in text.replace(",", " ").split():
        name, _, number = part.partition("=")
        if name not in _MOST or name in values or not re.fullmatch(r"[1-9][0-9]{0,18}", number):
            raise InvalidInput(field, text, f"{part!r} is no budget", remedy)
        if int(number) > _MOST[name]:
            raise InvalidInput(field, text, f"{name} is more than {_MOST[name]}", remedy)
        values[name] = int(number)
    return Budget(**values) if values else None
