"""A chat request of OpenClaw, without what the gateway wraps around it.

Measured on OpenClaw 2026.9.6: a time stamp before a user's text, a "Runtime:" line after the first, internal
context between marks, a notice when a crash cut a turn off, the text of that turn kept above it, and a request
to go on where the model has said nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from clawbus.demo.model.plans import Done
from clawbus.node.prompts.frames import MESSAGE_MARK, RESULT_MARK, STEER_MARK, TASK_MARK

FrameKind = Literal["task", "result", "message", "steer"]
_KINDS: dict[str, FrameKind] = {
    TASK_MARK: "task", RESULT_MARK: "result", MESSAGE_MARK: "message", STEER_MARK: "steer",
}  # fmt: skip
_HEAD = re.compile(rf"^({'|'.join(map(re.escape, _KINDS))}) (\S+)(.*)$", re.MULTILINE)
_FENCE = re.compile(r"^<<<(CLAWBUS-DATA-[0-9a-f]+)\n(.*?)\n\1>>>$", re.MULTILINE | re.DOTALL)

_INTERNAL = re.compile(r"<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>.*?<<<END_OPENCLAW_INTERNAL_CONTEXT>>>", re.DOTALL)
_RUNTIME = re.compile(r"^Runtime: agent=(\S+) \| session=(\S+) .*$", re.MULTILINE)
_RESTARTED = re.compile(r"^\[System\] Your previous turn was interrupted by a gateway restart.*$", re.MULTILINE)
_ASKED_AGAIN = re.compile(
    r"^(?:The previous (?:assistant turn|attempt)\b.* did not produce a user-visible answer\. Continue from "
    r"|Continue the current task from the existing transcript, preserving completed work\. ).*$",
    re.MULTILINE,
)
"""OpenClaw's own words to a model that has said nothing, or that could not be reached: the turn goes on."""
_QUEUED = re.compile(r"^\[Queued user message from a previous active turn;[^\]\n]*\]\n", re.MULTILINE)
_RELAYED = re.compile(r"^\[Inter-session message\].*\nThis content was routed by OpenClaw.*\n?", re.MULTILINE)
_STAMP = re.compile(r"^\[[A-Z][a-z]{2} \d{4}-\d\d-\d\d \d\d:\d\d[^\]\n]*\] ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Frame:
    """One task, result or message as clawbus frames it: the head is the bus's word, the body is data."""

    kind: FrameKind
    id: str
    head: str
    body: str

    def field(self, name: str) -> str:
        """The value of a line such as `From:` or `Outcome:`, up to its first comma."""
        found = re.search(rf"^{name}: ([^,\n]*)", self.head, re.MULTILINE)
        return found.group(1).strip() if found else ""


@dataclass(frozen=True, slots=True)
class Turn:
    """The part that waits for an answer: the newest prompt, framed things, and the calls of this turn so far."""

    agent: str
    session: str
    system: str
    prompt: str
    task: Frame | None
    results: tuple[Frame, ...]
    messages: tuple[Frame, ...]
    """Mail that has woken this turn."""
    steers: tuple[Frame, ...]
    """The words said to the task after it was given, as far as they are not answered."""
    origin: Frame | None
    """The task that this session was begun for, if it is one of the bus."""
    asked: str
    """The user's last words in this session, perhaps some turns ago."""
    done: tuple[Done, ...]
    fresh: bool
    """True if the gateway has just begun (or, after a crash, begun again) this turn: nothing follows its text."""


def read_turn(request: dict[str, Any]) -> Turn:
    """Read the body of a POST to /v1/chat/completions. Anything odd in it reads as empty."""
    messages = [m for m in request.get("messages") or [] if isinstance(m, dict)]
    texts = [(str(m.get("role")), _text(m.get("content"))) for m in messages]
    agent, session = _whose(texts)
    start = max(
        (i + 1 for i, m in enumerate(messages) if _is_reply(m) and not _asked_again(messages[i + 1 :])), default=0
    )
    pending = [clean(text) for role, text in texts[start:] if role == "user"]
    pending = [text for text in pending if text]
    framed = [frames(text) for text in pending]
    results = {frame.id: frame for found in framed for frame in found if frame.kind == "result"}
    steers = tuple(frame for found in framed for frame in found if frame.kind == "steer")
    told_later = bool(framed) and _only_steers(framed[-1])
    framed = [[frame for frame in found if frame.kind != "steer"] for found in framed if not _only_steers(found)]
    last = framed[-1] if framed else []
    tasks = [frame for frame in last if frame.kind == "task"]
    return Turn(
        agent=agent,
        session=session,
        system="\n".join(text for role, text in texts if role in ("system", "developer")),
        prompt=pending[-1] if pending and not last and not steers else "",
        task=tasks[-1] if tasks else None,
        results=tuple(results.values()),
        messages=tuple(frame for frame in last if frame.kind == "message"),
        steers=steers,
        origin=_origin(texts),
        asked=_asked(texts),
        done=tuple(_calls(messages[start:])),
        fresh=_is_fresh(texts) and not told_later,
    )


def clean(text: str) -> str:
    """A user's text without what the gateway put around it.

    Of a text that a crash left behind and a newer one below it, the newer counts; if the newer is only the
    gateway's own notice, the older one still waits for its answer.
    """
    for wrapped in (_INTERNAL, _RUNTIME, _RELAYED):
        text = wrapped.sub("", text)
    text = _STAMP.sub("", text).strip()
    restarted = _RESTARTED.search(text)
    text = _ASKED_AGAIN.sub("", _RESTARTED.sub("", text)).strip()
    if _QUEUED.search(text) and not restarted and not _HEAD.search(text):
        text = _QUEUED.split(text)[-1].split("\n\n", 1)[-1]
    return _QUEUED.sub("", text).strip()


def frames(text: str) -> list[Frame]:
    """The frames of a text in order. A mark inside a fence is somebody's data, and is not one."""
    found: list[Frame] = []
    at = 0
    while (head := _HEAD.search(text, at)) is not None:
        fence = _FENCE.search(text, head.end())
        if fence is None:
            break
        found.append(Frame(_KINDS[head[1]], head[2], text[head.start() : fence.start()], fence[2]))
        at = fence.end()
    return found


def _only_steers(found: list[Frame]) -> bool:
    return bool(found) and all(frame.kind == "steer" for frame in found)


def _origin(texts: Sequence[tuple[str, str]]) -> Frame | None:
    told = (frame for role, text in texts if role == "user" for frame in frames(clean(text)))
    return next((frame for frame in told if frame.kind == "task"), None)


def _asked(texts: Sequence[tuple[str, str]]) -> str:
    said = (clean(text) for role, text in reversed(texts) if role == "user")
    return next((text for text in said if text and not frames(text)), "")


def _whose(texts: Sequence[tuple[str, str]]) -> tuple[str, str]:
    for role, text in reversed(texts):
        found = _RUNTIME.search(text) if role != "tool" else None
        if found:
            return found[1], found[2]
    return "", ""


def _is_reply(message: dict[str, Any]) -> bool:
    return message.get("role") == "assistant" and not message.get("tool_calls")


def _asked_again(after: Sequence[dict[str, Any]]) -> bool:
    """True if the gateway's request to go on follows a reply first: then the reply was none."""
    return bool(after) and after[0].get("role") == "user" and bool(_ASKED_AGAIN.search(_text(after[0].get("content"))))


def _calls(messages: Sequence[dict[str, Any]]) -> list[Done]:
    outputs = {str(m.get("tool_call_id")): _text(m.get("content")) for m in messages if m.get("role") == "tool"}
    calls = [call for m in messages if m.get("role") == "assistant" for call in m.get("tool_calls") or []]
    return [
        Done(str(call["function"]["name"]), _arguments(call["function"]), outputs[str(call.get("id"))])
        for call in calls
        if str(call.get("id")) in outputs
    ]


def _arguments(function: dict[str, Any]) -> dict[str, Any]:
    try:
        parsed = json.loads(function.get("arguments") or "{}")
    except ValueError:
        return {}
    return cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else {}


def _is_fresh(texts: Sequence[tuple[str, str]]) -> bool:
    own = [(role, _ASKED_AGAIN.sub("", _INTERNAL.sub("", text)).strip()) for role, text in texts]
    said = [role for role, text in own if role != "user" or text]
    return bool(said) and said[-1] == "user"


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
