"""A text in portions that a chat channel takes: none ends inside a letter or an escape, and what is missing is said."""

from __future__ import annotations

import re
import unicodedata

_UNITS = 3_500
"""Of UTF-16, in which channels count. Telegram takes 4,096; for one that takes less OpenClaw splits further."""
_MOST = 5
"""Messages for one text; who reads on a telephone reads the rest of a longer one elsewhere."""
_NOTE_CHARS = 200
_ESCAPE = re.compile(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")
_LONGEST_ESCAPE = 10
_FLAG_LETTERS = "".join(map(chr, range(0x1F1E6, 0x1F200)))
_VIRAMA = 9
_JOINER = "\u200d"
_LONGEST_LETTER = 64
"""Code points; a longer row of joined ones is a flood, and is cut anywhere."""


def portions(text: str, whole: str) -> list[str]:
    """An inert text as one message, or as several with their numbers. `whole`: the command that shows all of it."""
    if _units(text) <= _UNITS:
        return [text]
    found: list[str] = []
    at = 0
    while at < len(text) and len(found) < _MOST:
        end = _end(text, at, _UNITS - _NOTE_CHARS)
        found.append(text[at:end].strip("\n"))
        at = end
    if left := len(text) - at:
        found[-1] += f"\n[{left} of {len(text)} characters are missing here; the whole: {whole}]"
    return [f"{one}\n({number} of {len(found)})" for number, one in enumerate(found, 1)]


def _units(text: str) -> int:
    return len(text) + sum(char > "\uffff" for char in text)


def _end(text: str, at: int, room: int) -> int:
    """The end of a portion that begins at `at`: after a line if its last third has one, else after a whole letter."""
    end = at
    while end < len(text) and (room := room - 1 - (text[end] > "\uffff")) >= 0:
        end += 1
    if end == len(text):
        return end
    line = text.rfind("\n", at + 2 * (end - at) // 3, end)
    return line + 1 if line >= 0 else _whole_letter(text, _whole_escape(text, end))


def _whole_escape(text: str, end: int) -> int:
    """`end`, or where the escape begins that lies over it."""
    start = max(0, end - _LONGEST_ESCAPE)
    over = (
        escape.start()
        for escape in _ESCAPE.finditer(text, start, end + _LONGEST_ESCAPE)
        if escape.start() < end < escape.end()
    )
    return next(over, end)


def _whole_letter(text: str, end: int) -> int:
    """`end`, or where the letter begins that lies over it, with its marks, joiners and selectors."""
    start = end
    while start > end - _LONGEST_LETTER and start > 0 and _continues(text, start):
        start -= 1
    return start if start > end - _LONGEST_LETTER else end


def _continues(text: str, at: int) -> bool:
    """True if the code point at `at` belongs to the letter before it."""
    char, before = text[at], text[at - 1]
    if _JOINER in (before, char) or unicodedata.category(char)[0] == "M":
        return True
    if unicodedata.combining(before) == _VIRAMA:  # two consonants of an Indic script that are written as one
        return True
    if "\U0001f3fb" <= char <= "\U0001f3ff" or "\U000e0020" <= char <= "\U000e007f":  # skin tones, tags of flags
        return True
    letters = len(text[:at]) - len(text[:at].rstrip(_FLAG_LETTERS))
    return char in _FLAG_LETTERS and letters % 2 == 1  # two of them are one flag
