"""The kind of a turn's last words: a report, silence, or a tool call that was written as text instead of made.

Source: OpenClaw 2026.9.6 (its tokens for silence), and the chat templates of models that people run themselves. These
write a tool call between marks of their own; a server that does not know the marks passes them on as text.
"""

from __future__ import annotations

import json
import re
from enum import IntEnum
from typing import Any


class WrittenCall(IntEnum):
    """The certainty that a text is a tool call. `PERHAPS`: it stands in a code block below words."""

    NONE = 0
    PERHAPS = 1
    WHOLE = 2


_QUIET = "(?:NO_REPLY|HEARTBEAT_OK|ANNOUNCE_SKIP|REPLY_SKIP)"
_SILENT = re.compile(rf"\W*(?:\"action\"\W*)?{_QUIET}(?:\W+{_QUIET})*\W*", re.IGNORECASE)
_LAST_LINE = re.compile(rf"\n[ \t*]*{_QUIET}[\s*]*\Z", re.IGNORECASE)
_UNSEEN = re.compile(r"[\s\u00ad\u200b-\u200f\u2060-\u2064\ufe0e\ufe0f\ufeff]+")

_PLAIN = {0xFF5C: "|", 0x2581: "_"}
"""DeepSeek writes its marks with other letters that look like these."""
_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_OPENS = re.compile(
    r"[ \t]*(?:<\|?[\w.:|-]{0,40}(?:tool|function)[_ -]?(?:call|use|code|request)[\w.:|-]{0,40}>"
    r"|<[\w:]{0,20}invoke\s+name=|<(?:function|tool)(?:=|\s+name=)|<\|python_tag\|>|<\|channel\|>commentary"
    r"|\[TOOL_(?:CALLS?|REQUEST)\]|✿FUNCTION✿|functools(?=\[)|Action:[ \t]*[\w.-]+[ \t]*\n+Action Input:)",
    re.IGNORECASE,
)
_CLOSES = re.compile(
    r"</[\w:|-]{0,40}(?:tool|function|invoke)[\w:|-]{0,40}>|<\|(?:/tool_call|[\w-]{0,40}end|call)\|>"
    r"|\[(?:/TOOL_CALLS?|END_TOOL_REQUEST)\]",
    re.IGNORECASE,
)
_END_MARKS = ("</s>", "<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|endoftext|>", "<|end_of_sentence|>")
_UNCLOSED = re.compile(r"[:=\s]*(?:[\[{<\"]|[\w.:-]+\s*[=\[{(<>\n\"|])")
_PYTHONIC = re.compile(r"\[[A-Za-z_][\w.]*\([^\n]*\)\]")
_NAMES = ("name", "tool", "tool_name", "function", "recipient_name", "action")
_ARGUMENTS = ("arguments", "parameters", "args", "tool_input", "action_input", "input")
_MOST_KEYS = 5


def are_silent(text: str) -> bool:
    """True if a text says nothing: it is empty, or has only OpenClaw's tokens for "tell nobody"."""
    return not _UNSEEN.sub("", text) or _SILENT.fullmatch(text) is not None


def without_token(text: str) -> str:
    """A text without the token for "tell nobody" on its last line, as OpenClaw shows it."""
    return _LAST_LINE.sub("", text)


def written_call(text: str) -> WrittenCall:
    """The certainty that a text is, or ends with, a tool call. Within a line, in quotes or above words it is prose."""
    text = _without_end_marks(text.translate(_PLAIN).replace("\r\n", "\n"))
    opened, prose, block = _parts(text)
    if _is_json_call(text.strip()) or _PYTHONIC.fullmatch(text.strip()) or _ends_in_call(text, opened):
        return WrittenCall.WHOLE
    if block and (_is_json_call(block.strip()) or _ends_in_call(block, _parts(block)[0])):
        return WrittenCall.PERHAPS if prose else WrittenCall.WHOLE
    return WrittenCall.NONE


def _without_end_marks(text: str) -> str:
    text = text.rstrip()
    while text.endswith(_END_MARKS):
        text = text[: text.rindex("<")].rstrip()
    return text


def _parts(text: str) -> tuple[list[int], bool, str]:
    """Three parts of a text: where marks open a call, True if there are words beside code blocks, the last code block.

    A mark counts at the beginning of a line, outside of code blocks.
    """
    opened: list[int] = []
    prose, fence, block, at = False, "", "", 0
    for line in text.splitlines(keepends=True):
        mark = _FENCE.match(line)
        if fence and mark and mark[1].startswith(fence) and line.strip() == mark[1]:
            fence = ""
        elif fence:
            block += line
        elif mark:
            fence, block = mark[1], ""
        elif line.strip():
            prose, block = True, ""
            if found := _OPENS.match(text, at):
                opened.append(found.end())
        at += len(line)
    return opened, prose, block


def _ends_in_call(text: str, opened: list[int]) -> bool:
    """True if a text ends with a call between marks, or with one that was never closed."""
    if not opened:
        return False
    closed = max((mark.end() for mark in _CLOSES.finditer(text, opened[0])), default=0)
    if closed > opened[-1]:
        return not text[closed:].strip()
    rest = text[opened[-1] :].strip()
    return "\n\n" not in rest and _UNCLOSED.match(rest) is not None and (rest[0] in "[{<" or rest[-1] in "]})>")


def _is_json_call(text: str) -> bool:
    """True if a text is JSON of the shape in which models call one or several tools."""
    if text[:1] not in ("{", "[") or text[-1:] not in ("}", "]"):
        return False
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    calls = found if isinstance(found, list) else found.get("tool_calls", [found])
    return isinstance(calls, list) and bool(calls) and all(_is_call(call) for call in calls)


def _is_call(call: Any) -> bool:
    """True if an object has a name, arguments, and little else."""
    if not isinstance(call, dict) or len(call) > _MOST_KEYS:
        return False
    if isinstance(call.get("function"), dict):
        call = call["function"]
    names = [call[name] for name in _NAMES if name in call]
    arguments = [call[name] for name in _ARGUMENTS if name in call]
    named = bool(names) and all(isinstance(name, str) and re.fullmatch(r"[\w.:/-]{1,64}", name) for name in names)
    return named and len(arguments) == 1 and isinstance(arguments[0], (dict, str))
