"""The one function through which others' text passes before a terminal shows it."""

from __future__ import annotations

import unicodedata

_KEEP = "\n\t\u200c\u200d"
"""Line breaks and tabs; and the joiners, invisible but letters of some languages and of emoji need them."""


def inert(text: str) -> str:
    r"""Make control characters, terminal escapes, bidirectional and invisible characters visible, such as `\\x1b`.

    A model's reply is data from elsewhere: shown raw, it could recolour, overwrite or retitle the operator's
    terminal, or show a path that is not the one that is copied.
    """
    text = text.replace("\r\n", "\n")
    return "".join(char if char in _KEEP or _harmless(char) else _escaped(char) for char in text)


def _harmless(char: str) -> bool:
    """Neither a control (Cc) nor a format character (Cf: bidi, zero width), nor a lone surrogate or line separator."""
    return unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "backslashreplace").decode()
