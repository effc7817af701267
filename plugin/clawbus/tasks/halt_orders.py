"""Halt orders: a person's order about who may work is the last message of `<company>.state.<target>.<person>`.

    {"v": 1, "state": "stopped" | "paused" | "running", "why": "…"}

`target` is an agent, or `all`. The subject's last token says who gave it, and the server's time says when.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from clawbus.bus import Stored
from clawbus.errors import WireError
from clawbus.wire.sanitize import inert
from clawbus.wire.strict_json import read_object
from clawbus.wire.subjects import Subjects

ALL = "all"
"""The target that means the whole company."""
State = Literal["stopped", "paused", "running"]
_WHY_CHARS = 200


@dataclass(frozen=True, slots=True)
class Order:
    """The order that stands for a target. `state`: a State, or "unknown" as long as a process has not read it."""

    target: str
    state: str
    by: str = ""
    why: str = ""
    at: datetime | None = None
    seq: int = 0

    def __str__(self) -> str:
        """One line for a person or a model."""
        if self.state == "unknown":
            return "it is not known whether the company is stopped: the bus has not said so lately"
        who = "the company" if self.target == ALL else self.target
        return f"{who} is {self.state} by {self.by}" + (f": {self.why}" if self.why else "")

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"at": self.at.isoformat() if self.at else None}


def encode(state: State, why: str) -> bytes:
    return json.dumps({"v": 1, "state": state, "why": why[:_WHY_CHARS]}).encode()


def order_of(stored: Stored, subjects: Subjects) -> Order:
    """Read a stored message. Raises WireError if its subject is none of this company's."""
    parsed = subjects.parse(stored.subject)
    # A message that cannot be read counts as a stop. Only people can write there, and a subject keeps its last message
    # only, so it may have replaced a stop.
    state, why = "stopped", "this order cannot be read"
    with contextlib.suppress(WireError):
        body = read_object(stored.data)
        if body.get("state") in get_args(State):
            state, why = body["state"], str(body.get("why") or "")
    why = inert(" ".join(why.split()))[:_WHY_CHARS]
    return Order(parsed.tokens["target"], state, parsed.sender, why, stored.at, stored.seq)
