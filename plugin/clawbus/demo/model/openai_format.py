"""The shapes of OpenAI's chat completions: what a decision looks like on the wire, whole or streamed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

from clawbus.demo.model.plans import Decision

NAME = "scripted"
_CHUNK_CHARS = 4_000


def _message(decision: Decision) -> dict[str, Any]:
    if decision.call is None:
        return {"role": "assistant", "content": decision.reply}
    function = {"name": decision.call.tool, "arguments": json.dumps(decision.call.arguments)}
    call = {"index": 0, "id": f"call{time.time_ns()}", "type": "function", "function": function}
    return {"role": "assistant", "content": decision.call.beside or None, "tool_calls": [call]}


def whole(decision: Decision, spent: dict[str, int]) -> dict[str, Any]:
    """The answer to a request that does not stream."""
    choice = {"index": 0, "message": _message(decision), "finish_reason": _finish(decision)}
    return {"id": "scripted", "object": "chat.completion", "created": int(time.time()), "model": NAME,
            "choices": [choice], "usage": spent}  # fmt: skip


def events(decision: Decision, spent: dict[str, int]) -> Iterable[str]:
    """The data of the server-sent events of a streamed answer; the last chunk carries the usage."""
    message = _message(decision)
    if decision.call is None:
        text = decision.reply
        deltas = [{"role": "assistant", "content": text[i : i + _CHUNK_CHARS]}
                  for i in range(0, max(len(text), 1), _CHUNK_CHARS)]  # fmt: skip
    else:
        deltas = [message]
    for delta in deltas:
        yield _event({"index": 0, "delta": delta, "finish_reason": None}, None)
    yield _event({"index": 0, "delta": {}, "finish_reason": _finish(decision)}, spent)
    yield "[DONE]"


def _event(choice: dict[str, Any], usage: dict[str, int] | None) -> str:
    event = {"id": "scripted", "object": "chat.completion.chunk", "created": int(time.time()), "model": NAME,
             "choices": [choice]}  # fmt: skip
    return json.dumps(event | ({"usage": usage} if usage else {}))


def _finish(decision: Decision) -> str:
    return "tool_calls" if decision.call else decision.finish


def usage(request: dict[str, Any], decision: Decision) -> dict[str, int]:
    """The usage in tokens, a quarter of the characters: there is no tokenizer here."""
    read = len(json.dumps(request.get("messages"))) // 4
    written = len(json.dumps(_message(decision))) // 4
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def error(message: str, **more: Any) -> dict[str, Any]:
    """The body of an error; `more`: fields of a provider's own, such as `code`."""
    return {"error": {"message": message, "type": "scripted", **more}}
