"""A test's orders to the scripted model: lines that begin with `@`, carried out in their order.

@reply TEXT          add TEXT to the reply
@big N               add N characters
@sleep SECONDS       wait first; ends early when the client goes away
@hang                never answer
@fail [STATUS] [TEXT]  answer with an HTTP error, 500 at first; TEXT is the provider's message, or its {json}
@end TEXT            end here with exactly TEXT, perhaps nothing, whatever was said before
@finish REASON       say with the reply that it ended so: length, content_filter
@say TEXT            say TEXT in the message of the next tool call
@exec COMMAND        run it with OpenClaw's exec tool, add its output
@tool NAME {json}    call any tool, add its output
@spawn AGENT TEXT    nats_spawn
A written \\n in the TEXT of @spawn, @end and @say becomes a line break.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

from clawbus.demo.model.plans import Break, Call, End, Pause, Plan

_LINE = re.compile(r"^@(reply|big|sleep|hang|fail|end|finish|say|exec|tool|spawn)\b[ \t]*(.*)$", re.MULTILINE)


def has_directives(text: str) -> bool:
    return _LINE.search(text) is not None


def obey(text: str) -> Plan:
    """Carry out every directive of a text; the reply is what they printed, one below the other."""
    said: list[str] = []
    beside, finish = "", "stop"
    for name, rest in _LINE.findall(text):
        if name == "say":
            beside = _lines(rest)
        elif name == "finish":
            finish = rest.strip()
        elif name == "end":
            yield End(_lines(rest), finish)
        elif isinstance(step := _step(name, rest.strip()), str):
            said.append(step)
        else:
            output = yield replace(step, beside=beside) if isinstance(step, Call) else step
            said += [output] if isinstance(step, Call) else []
            beside = ""
    reply = "\n".join(said) or "ok"
    if finish != "stop":
        yield End(reply, finish)
    return reply


def _lines(text: str) -> str:
    """A task's frame writes `<` as an escape where a mark could begin."""
    return text.replace("\\n", "\n").replace("\\x3c", "<")


def _step(name: str, rest: str) -> Call | Pause | Break | str:
    if name == "reply":
        return rest
    if name == "fail":
        return _error(rest)
    if name in ("hang", "sleep", "big"):
        return _number(name, rest)
    return _call(name, rest)


def _error(rest: str) -> Break | str:
    """`402 TEXT`, `429 {"message": …, "code": …}`, or nothing."""
    status, _, text = rest.partition(" ")
    if not rest:
        return Break()
    if not status.isdigit():
        return f"@fail needs a status, not {status!r}"
    try:
        body = json.loads(text) if text.startswith("{") else {"message": text} if text else {}
    except ValueError as error:
        return f"@fail {status}: not JSON: {error}"
    return Break(int(status), body)


def _number(name: str, rest: str) -> Pause | str:
    if name == "hang":
        return Pause(math.inf)
    try:
        number = float(rest)
    except ValueError:
        return f"@{name} needs a number, not {rest!r}"
    return Pause(number) if name == "sleep" else _text_of(int(number))


def _text_of(length: int) -> str:
    """A text of exactly so many characters, in numbered lines, so that a cut shows where it is."""
    lines = (f"{start:08d} {'x' * 70}\n" for start in range(0, length, 80))
    return "".join(lines)[:length]


def _call(name: str, rest: str) -> Call | str:
    if name == "exec":
        return Call("exec", {"command": rest, "yieldMs": 120_000})
    first, _, more = rest.partition(" ")
    if name == "spawn":
        return Call("nats_spawn", {"agentId": first, "task": _lines(more)}, repeatable=False)
    try:
        arguments = json.loads(more or "{}")
    except ValueError as error:
        return f"@tool {first}: not JSON: {error}"
    return Call(first, arguments, repeatable=False)
