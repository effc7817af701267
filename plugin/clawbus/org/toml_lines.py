"""The line of each value of a TOML text: `tomllib` reads values and forgets their places.

Only for a text that `tomllib` has accepted: what it allows (TOML 1.0) is walked here, and nothing is checked again.
"""

from __future__ import annotations

import functools
import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

Place = tuple[str | int, ...]
"""A value by its keys and indices: ("agents", 1, "team")."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"""(?:"(?:\\.|[^"\\])*"|'[^']*'|[^"'=\]])+""")
_TEXT = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'",
    re.DOTALL,
)
_OTHER = re.compile(r"[^,\]}#\n]*")  # numbers, booleans, dates


def locate(text: str) -> dict[Place, int]:
    """The line, counted from 1, of every table, entry, key and element of a TOML text."""
    return _Walk(text).lines


def line_of(lines: Mapping[Place, int], place: Place) -> int | None:
    """The line of a value; of what it stands in, where it is missing itself; None if that is the whole file."""
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place)


@functools.lru_cache(maxsize=1024)  # a file of thousands of agents has a dozen keys
def _words(key: str) -> tuple[str, ...]:
    """A key's words. Quotes and escapes are tomllib's work."""
    tree: Any = tomllib.loads(f"{key} = 0")
    words = []
    while tree:
        (word, tree), *_ = tree.items()
        words.append(word)
    return tuple(words)


class _Walk:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._ends = [found.start() for found in re.finditer("\n", text)]
        self._tables: dict[Place, int] = {}  # how many tables each [[array]] has so far
        self.lines: dict[Place, int] = {}
        here: Place = ()
        while self._skip():
            if self._take("[["):
                here = self._next_of_array(self._keys())
                self._at += 2
            elif self._take("["):
                here = self._table(self._keys())
                self._at += 1
            else:
                self._pair(here)

    def _skip(self) -> bool:
        """Over blanks and comments. False at the end of the text."""
        self._at = self._match(_BLANK)
        return self._at < len(self._text)

    def _take(self, word: str) -> bool:
        found = self._text.startswith(word, self._at)
        self._at += len(word) * found
        return found

    def _match(self, pattern: re.Pattern[str]) -> int:
        """The place where a pattern that begins here ends."""
        found = pattern.match(self._text, self._at)
        return found.end() if found else self._at

    def _keys(self) -> tuple[str, ...]:
        """The words of the key that begins here, dotted or not."""
        start, self._at = self._at, self._match(_KEY)
        return _words(self._text[start : self._at].strip())

    def _note(self, place: Place) -> None:
        self.lines.setdefault(place, bisect_right(self._ends, self._at - 1) + 1)

    def _table(self, keys: tuple[str, ...]) -> Place:
        place: Place = ()
        for key in keys:
            place += (key,)
            self._note(place)
            if place in self._tables:
                place += (self._tables[place] - 1,)
        return place

    def _next_of_array(self, keys: tuple[str, ...]) -> Place:
        array = (*self._table(keys[:-1]), keys[-1])
        count = self._tables[array] = self._tables.get(array, 0) + 1
        self._note(array)
        self._note((*array, count - 1))
        return (*array, count - 1)

    def _pair(self, table: Place) -> None:
        for word in self._keys():
            table += (word,)
            self._note(table)
        self._at += 1  # the equals sign
        self._value(table)

    def _value(self, place: Place) -> None:
        self._skip()
        if self._take("["):
            count = 0
            while self._more("]"):
                self._note((*place, count))
                self._value((*place, count))
                count += 1
        elif self._take("{"):
            while self._more("}"):
                self._pair(place)
        else:
            quoted = self._text[self._at] in "\"'"
            self._at = self._match(_TEXT if quoted else _OTHER)

    def _more(self, end: str) -> bool:
        """True if an array or inline table goes on after a comma."""
        self._skip()
        if self._take(","):
            self._skip()
        return not self._take(end)
