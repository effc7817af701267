"""The scripted model's plans: a plan asks for a tool, reads what it printed, and goes on.

The server keeps nothing between two requests. It runs the plan anew over what the conversation already
holds, and where that ends lies the next decision. So a turn that a crash cut off simply goes on.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

INTERRUPTED = "missing tool result in session history"
"""OpenClaw's own words for a tool call whose outcome a crash swallowed (2026.9.6)."""


MAX_CALLS = 1000
"""In one turn: an end for whatever would otherwise call the same tool for ever."""


@dataclass(frozen=True, slots=True)
class Call:
    """A tool to call. `repeatable`: whether it may run again when a crash swallowed its outcome."""

    tool: str
    arguments: dict[str, Any] = field(default_factory=dict)
    repeatable: bool = True
    beside: str = ""
    """The words of the model in the same message."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so many seconds before the next thing; `inf` waits until the client goes away."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Break:
    """Answer with an HTTP error. `body`: the provider's own `error` object; without it the script's."""

    status: int = 500
    body: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class End:
    """End the turn here with exactly this text, perhaps none. `finish`: the provider's `finish_reason`."""

    text: str
    finish: str = "stop"


Plan = Generator[Call | Pause | Break | End, str, str]
"""Yields what to do, receives a tool's output, returns the reply."""


@dataclass(frozen=True, slots=True)
class Done:
    """A tool call of this turn that the conversation holds, with its output."""

    tool: str
    arguments: dict[str, Any]
    output: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The model's next act: wait `pause_s`, then call, reply, or break."""

    pause_s: float = 0.0
    call: Call | None = None
    reply: str = ""
    finish: str = "stop"
    error: Break | None = None


def decide(plan: Plan, done: Sequence[Done]) -> Decision:
    """Follow a plan through what is done, up to the first thing that is not."""
    if len(done) > MAX_CALLS:
        return Decision(reply=f"I gave up after {MAX_CALLS} tool calls in one turn.")
    rest = list(done)
    pause_s, output = 0.0, ""
    try:
        step = next(plan)
        while True:
            if isinstance(step, Break):
                return Decision(pause_s, error=step)
            if isinstance(step, End):
                return Decision(pause_s, reply=step.text, finish=step.finish)
            if isinstance(step, Pause):
                pause_s, output = pause_s + step.seconds, ""
            else:
                found = _take(rest, step)
                if found is None:
                    return Decision(pause_s, call=step)
                pause_s, output = 0.0, found
            step = plan.send(output)
    except StopIteration as end:
        return Decision(pause_s, reply=str(end.value))


def _take(rest: list[Done], call: Call) -> str | None:
    for index, entry in enumerate(rest):
        if (entry.tool, entry.arguments) != (call.tool, call.arguments):
            continue
        if call.repeatable and INTERRUPTED in entry.output:
            continue
        del rest[index]
        return entry.output
    return None
