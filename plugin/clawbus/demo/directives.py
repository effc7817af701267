"""What a test tells the scripted model to do: lines that begin with `@`, carried out in their order.

@reply TEXT          add TEXT to the reply
@big N               add N characters
@sleep SECONDS       wait first; ends early when the client goes away
@hang                never answer
@fail                answer with HTTP 500
@exec COMMAND        run it with OpenClaw's exec tool, add its output
@tool NAME {json}    call any tool, add its output
@spawn AGENT TEXT    nats_spawn; a written \\n in TEXT becomes a line break
"""

from __future__ import annotations

import json
import math
import re

from clawbus.demo.plans import Break, Call, Pause, Plan

_LINE = re.compile(r"^@(reply|big|sleep|hang|fail|exec|tool|spawn)\b[ \t]*(.*)$", re.MULTILINE)


def has_directives(text: str) -> bool:
    return _LINE.search(text) is not None


def obey(text: str) -> Plan:
    """Carry out every directive of a text; the reply is what they printed, one below the other."""
    said: list[str] = []
    for name, rest in _LINE.findall(text):
        step = _step(name, rest.strip())
        if isinstance(step, str):
            said.append(step)
        else:
            output = yield step
            said.append(output) if isinstance(step, Call) else None
    return "\n".join(said) or "ok"


def _step(name: str, rest: str) -> Call | Pause | Break | str:
    if name == "reply":
        return rest
    if name == "fail":
        return Break()
    if name in ("hang", "sleep", "big"):
        return _number(name, rest)
    return _call(name, rest)


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
        return Call("nats_spawn", {"agentId": first, "task": more.replace("\\n", "\n")}, repeatable=False)
    try:
        arguments = json.loads(more or "{}")
    except ValueError as error:
        return f"@tool {first}: not JSON: {error}"
    return Call(first, arguments, repeatable=False)
