"""Others' text made harmless before a terminal, a log or a prompt shows it.

Sources of what is harmless: Unicode Standard Annex 9 (direction), UTS 51 (variation selectors and joiners of emoji),
and the list of default ignorable code points of the Unicode Character Database.
"""

from __future__ import annotations

import json
import logging
import re
import unicodedata
from collections.abc import Callable
from types import TracebackType
from typing import Any

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_JOINERS = "\u200c\u200d"
"""Invisible, but letters of some languages and of emoji need them: kept between two of those."""
_SELECTORS = "\ufe0e\ufe0f"
_KEYCAPS, _KEYCAP = "0123456789#*", "\u20e3"
_SYMBOLS = "\u203c\u2049\u2139\u3030"
"""Bases of emoji that are no symbols by their category."""
_MOST_MARKS = 6
"""Marks on one letter; more are a flood that paints over the lines above and below."""
_UNSEEN = (
    (0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2065, 0x2065), (0x3164, 0x3164),
    (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0xE0000, 0xE0FFF),
)  # fmt: skip
"""Default ignorable code points that are neither controls nor format characters by their category."""


def inert(text: str, lines: bool = True) -> str:
    r"""Make control characters, terminal escapes, bidirectional and invisible characters visible, such as `\\x1b`.

    A model's reply is data from elsewhere: shown raw, it could recolour, overwrite or retitle the operator's
    terminal, or show a path that is not the one that is copied. `lines`: line breaks and tabs stay; without them
    a text stays on its line, and cannot add a row to a list or to a log.
    """
    found = _visible(text.replace("\r\n", "\n"), _escaped)
    return found if lines else found.replace("\n", "\\n").replace("\t", "\\t")


def inert_json(data: Any) -> str:
    """`data` as JSON that acts on no terminal: what `inert` makes visible is an escape of JSON."""
    return _visible(json.dumps(data, indent=2, ensure_ascii=False, default=str), _json_escaped)


def escaped(error: UnicodeError) -> tuple[str, int]:
    """The error handler for `codecs.register_error`: a letter that an encoding lacks becomes an escape of JSON."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(json.dumps(char)[1:-1] for char in error.object[error.start : error.end]), error.end


class InertFormatter(logging.Formatter):
    """Writes a record as one line, and indents what follows it, such as a traceback: no text can pose as a record."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = inert(record.message, lines=False)
        return super().formatMessage(record)

    def formatException(  # noqa: N802 - logging's name
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        return "    " + inert(super().formatException(ei)).replace("\n", "\n    ")


def _visible(text: str, escape: Callable[[str], str]) -> str:
    if text.isascii():
        return _CONTROLS.sub(lambda found: escape(found[0]), text)
    shown, marks = [], 0
    for at, char in enumerate(text):
        marks = marks + 1 if char > "\x7f" and unicodedata.category(char) in ("Mn", "Me") else 0
        shown.append(char if marks <= _MOST_MARKS and _harmless(char, text, at) else escape(char))
    return "".join(shown)


def _harmless(char: str, text: str, at: int) -> bool:
    if char < "\x7f":
        return char >= " " or char in "\n\t"
    if char in _JOINERS:
        return _joins(text, at)
    if char in _SELECTORS:
        return _selects(text, at)
    if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp"):  # controls, direction, zero width, half characters
        return False
    return not any(first <= ord(char) <= last for first, last in _UNSEEN)


def _joins(text: str, at: int) -> bool:
    """True if a joiner stands alone between letters or symbols beyond ASCII. A row of joiners could carry bits."""
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    return before > "\x7f" < after and _kind(before) in "LMS" and _kind(after) in "LS"


def _selects(text: str, at: int) -> bool:
    """True if a variation selector follows a character that has such forms."""
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    if before and before in _KEYCAPS:
        return after == _KEYCAP
    return before > "\x7f" and (_kind(before) == "S" or before in _SYMBOLS)


def _kind(char: str) -> str:
    return unicodedata.category(char)[0]


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "backslashreplace").decode()


def _json_escaped(char: str) -> str:
    return json.dumps(char)[1:-1] if char > "\x7f" else f"\\u{ord(char):04x}"
