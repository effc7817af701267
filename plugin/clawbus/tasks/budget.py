"""What a tree of tasks has used, and how much it may: a pure function of the records on `<company>.spend.<trace>.*`.

A tree is a task and all that was given because of it; its trace is the first one's id. Whoever gives a task reserves
its turn there first; the node that did it says afterwards what it took. Turns are certain, since nothing starts without
its reservation; minutes and tokens are known when a turn has ended, so what runs meanwhile may come on top.
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
"""The most of each that one word may name: [budget] of org.toml has the same bounds."""


class Record(BaseModel):
    """One line of a tree's account. Its writer is the subject's last token.

    `reserved`: a turn for `task`, given to `to`. `released`: the task was refused before it was on the bus, and takes
    none. `used`: what its turn took, in minutes and, where the gateway tells, tokens. `raised`: a person allows more.
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
    """Of the reservation that begins a tree: what the person who asked allows it."""
    at: AwareDatetime = Field(default_factory=now)

    def encode(self) -> bytes:
        return self.model_dump_json(exclude_none=True).encode()


def tree_of(said: Envelope) -> str:
    """The trace of the tree to which what follows from a task or a message belongs.

    One that names none (the steward's word, another program's) begins one of its own: all that is done because of it
    has one budget together.
    """
    for named in (said.trace_id, said.task_id if said.type == "task" else None):
        if is_task_id(named or ""):
            return str(named)
    return task_id_of(hashlib.sha256(said.id.encode()).digest())


def decode_record(data: bytes) -> Record:
    """Raises WireError for what is none."""
    return read_as(Record, data, "record of a budget")


@dataclass(slots=True)
class Reserved:
    """One task of a tree. `minutes` and `tokens` are 0 until its turn has ended, and where nobody tells them."""

    task: str
    by: str
    to: str
    parent: str
    at: AwareDatetime
    released: bool = False
    reports: dict[str, Record] = field(default_factory=dict)
    """The last report of each who may have done it: saying it again changes nothing."""

    @property
    def minutes(self) -> float:
        return sum(one.minutes for one in self.reports.values())

    @property
    def tokens(self) -> int:
        return sum(one.tokens or 0 for one in self.reports.values())


@dataclass(slots=True)
class Tree:
    """A tree as its records say, in the stream's order. `seq`: the last record that is in it."""

    trace: str
    seq: int = 0
    tasks: dict[str, Reserved] = field(default_factory=dict)
    releases: int = 0
    asked: Budget = field(default_factory=Budget)
    """What the one who began the tree has allowed it."""
    raised: Budget = field(default_factory=lambda: Budget(turns=0, minutes=0, tokens=0))
    """What people have added since."""

    def take(self, record: Record, sender: str, people: Collection[str], takers: Takers) -> None:
        """Add a record. What its sender may not say changes nothing: others' records are data."""
        task = self.tasks.get(record.task)
        if record.kind == "reserved":
            self._reserve(record, sender, task)
        elif record.kind == "raised":
            if sender in people:
                self.raised = _added(self.raised, record)
        elif task is None:
            return
        elif record.kind == "released":  # of a task that somebody has worked on nothing can be taken back
            released = task.by == sender and not task.reports and not task.released
            self.releases += released
            task.released = task.released or released
        elif sender in takers(task.to) and sender != task.by:  # nobody does his own; of a turn for mail none is told
            task.reports[sender] = record
            task.released = False  # taken back while somebody was at work on it

    def _reserve(self, record: Record, sender: str, task: Reserved | None) -> None:
        if not self.tasks and record.budget is not None:
            self.asked = record.budget
        if task is None:
            self.tasks[record.task] = Reserved(record.task, sender, record.to, record.parent, record.at)
        elif task.by == sender:
            task.released = False

    @property
    def used(self) -> dict[str, float]:
        """By the names of MEASURES."""
        tasks = [one for one in self.tasks.values() if not one.released]
        minutes, tokens = sum(one.minutes for one in tasks), sum(one.tokens for one in tasks)
        return {"turns": len(tasks), "minutes": round(minutes, 2), "tokens": tokens}

    def bound(self, org: Budget, task: Budget | None = None) -> dict[str, int | None]:
        """What it may use: the least of what org.toml, its beginner and `task` say; and what people have added."""
        found: dict[str, int | None] = {}
        for name in MEASURES:
            said = [getattr(one, name) for one in (org, self.asked, task or Budget())]
            least = min((value for value in said if value is not None), default=None)
            found[name] = None if least is None else least + (getattr(self.raised, name) or 0)
        return found

    def over(self, org: Budget, task: Budget | None = None) -> str:
        """What of its budget a tree has used up, in words; empty while it may give one more task."""
        used, bound = self.used, self.bound(org, task)
        full = [(name, top) for name in MEASURES if (top := bound[name]) is not None and used[name] >= top]
        return ", ".join(f"{used[name]:g} of {top} {name}" for name, top in full)

    def as_json(self, org: Budget) -> dict[str, Any]:
        """For `--json`."""
        tasks = [
            {"task_id": one.task, "from": one.by, "to": one.to, "parent": one.parent or None, "at": one.at.isoformat(),
             "minutes": one.minutes, "tokens": one.tokens, "released": one.released}
            for one in self.tasks.values()
        ]  # fmt: skip
        account = {"used": self.used, "bound": self.bound(org), "over": self.over(org)}
        return {"trace": self.trace, **account, "tasks": tasks}

    def below(self, parent: str) -> Iterator[Reserved]:
        """The tasks that were given in the turn of `parent`."""
        return (one for one in self.tasks.values() if one.parent == parent)


def _added(budget: Budget, record: Record) -> Budget:
    return Budget(
        turns=(budget.turns or 0) + record.turns,
        minutes=(budget.minutes or 0) + round(record.minutes),
        tokens=(budget.tokens or 0) + (record.tokens or 0),
    )


def narrowed(outer: Budget | None, inner: Budget | None) -> Budget | None:
    """The budget of a task in the turn of one that has `outer`: never wider."""
    if outer is None or inner is None:
        return inner if outer is None else outer
    values = {}
    for name in MEASURES:
        said = [value for one in (outer, inner) if (value := getattr(one, name)) is not None]
        values[name] = min(said, default=None)
    return Budget(**values)


def within(org: Org, asked: Budget | None) -> Budget | None:
    """What a person allows a tree, if org.toml allows it so much. Raises InvalidInput."""
    for name in MEASURES:
        most, said = getattr(org.budget, name), getattr(asked, name, None)
        if said is not None and said > most:
            remedy = f"Raise [budget] {name} in org.toml, or raise the tree's later: clawbus budget TASK --raise"
            raise InvalidInput("budget", f"{name}={said}", f"org.toml allows each tree {most}", remedy)
    return asked


def read_budget(field: str, text: str) -> Budget | None:
    """A budget as people write it, such as turns=20,minutes=30; None for no text. Raises InvalidInput for `field`."""
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
