"""Reading JavaScript as a reviewer does: what on a line is code, and what is comment or quoted text.

One line at a time. What is still open at its end (a block comment, a template literal, a string that a
backslash continues) is the state with which the next line starts. Regular expression literals are told
from divisions by what stands before the slash.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

State = tuple[str, ...]
"""The open constructs, innermost last: "/*", a quote, "`" (template text), "${" (code in a template), "{" in that."""

START: State = ()
_QUOTES = ("'", '"')
_TOKEN = re.compile(r"//|/\*|[\w$]+|\s+|\+\+|--|.", re.DOTALL)
_REGEX = re.compile(r"/(?![*/])(?:\\.|\[(?:\\.|[^\]\\])*\]|[^\\/\[])+/[A-Za-z]*")
_STRING = {quote: re.compile(rf"(?:\\.|[^\\{quote}])*", re.DOTALL) for quote in _QUOTES}
_TEMPLATE = re.compile(r"(?:\\.|\$(?!\{)|[^\\`$])*", re.DOTALL)
_BEFORE_REGEX = re.compile(
    r"return|typeof|case|in|of|delete|void|throw|new|instanceof|do|else|yield|await|default|extends"
)
_HEADS = frozenset(("if", "while", "for", "with"))
_ENDS_VALUE = frozenset((")", "]", "}", "++", "--", "<", "'", '"', "`"))


@dataclass(frozen=True, slots=True)
class Line:
    """`code`: comments and quoted text blanked. `text`: only comments blanked. Both as long as the line."""

    code: str
    text: str
    state: State


def read_line(line: str, state: State = START) -> Line:
    """Take one line apart, without its end of line; `state` is what the line before left open."""
    reader = _Reader(line.rstrip("\r"), state)
    return Line("".join(reader.code), "".join(reader.text), tuple(reader.open))


def after_gap(state: State) -> State:
    """The state after lines that hold no comment mark, no backtick, no `${` and no backslash at their end.

    Such a line ends a string that a backslash had continued into it; everything else stays as it was.
    """
    return state[:-1] if state and state[-1] in _QUOTES else state


def needs_every_line(state: State) -> bool:
    """True if an expression inside a template is open: only then do braces on any line matter."""
    return "${" in state


class _Reader:
    """Walks over one line. `before` is the last significant token, which tells a regex from a division."""

    def __init__(self, line: str, state: State) -> None:
        self.line, self.at, self.open, self.before = line, 0, list(state), ""
        self.code, self.text, self.heads = list(line), list(line), list[bool]()
        while self.at < len(line):
            self._step()
        if self.open and self.open[-1] in _QUOTES and not _continues(line):
            self.open.pop()

    def _step(self) -> None:
        inside = self.open[-1] if self.open else ""
        if inside == "/*":
            self._comment()
        elif inside in _QUOTES:
            self._quoted(_STRING[inside], inside)
        elif inside == "`":
            self._quoted(_TEMPLATE, inside)
        else:
            self._token()

    def _comment(self) -> None:
        end = self.line.find("*/", self.at)
        if end >= 0:
            self.open.pop()
        self._blank(len(self.line) if end < 0 else end + 2, self.code, self.text)

    def _quoted(self, body: re.Pattern[str], quote: str) -> None:
        found = body.match(self.line, self.at)
        end = found.end() if found else self.at
        self._blank(end, self.code)
        if self.line.startswith(quote, end):
            self.open.pop()
            self.at, self.before = end + 1, quote
        elif self.line.startswith("${", end):
            self.open.append("${")
            self.at, self.before = end + 2, "("
        else:
            self._blank(len(self.line), self.code)

    def _token(self) -> None:
        found = _TOKEN.match(self.line, self.at)
        piece = found.group() if found else ""
        if piece == "//" or (self.at == 0 and self.line.startswith("#!")):
            self._blank(len(self.line), self.code, self.text)
        elif piece == "/*":
            self.open.append(piece)
            self._blank(self.at + 2, self.code, self.text)
        elif piece == "/" and self._regex_may_start():
            self._regex()
        else:
            self.at += len(piece)
            self._take(piece)
            if not piece.isspace():
                self.before = self.before if piece == ")" else piece

    def _take(self, piece: str) -> None:
        """Open or close what a token opens or closes."""
        rules: dict[str, Callable[[], None]] = {
            "(": lambda: self.heads.append(self.before in _HEADS),
            ")": self._close_paren,
            "{": self._open_brace,
            "}": self._close_brace,
        }
        if piece in rules:
            rules[piece]()
        elif piece in ("'", '"', "`"):
            self.open.append(piece)

    def _close_paren(self) -> None:
        """After `if (…)` a slash begins a regex; after `f(…)` it divides."""
        self.before = "if)" if self.heads and self.heads.pop() else ")"

    def _open_brace(self) -> None:
        if "${" in self.open:
            self.open.append("{")

    def _close_brace(self) -> None:
        if self.open and self.open[-1] in ("{", "${"):
            self.open.pop()

    def _regex_may_start(self) -> bool:
        before = self.before
        if not before:
            return not self.line[self.at + 1 : self.at + 2].isspace()
        if before in _ENDS_VALUE:
            return False
        is_word = before[-1].isalnum() or before[-1] in "_$"
        return _BEFORE_REGEX.fullmatch(before) is not None or not is_word

    def _regex(self) -> None:
        found = _REGEX.match(self.line, self.at)
        if found:
            self._blank(found.end(), self.code)
        else:
            self.at += 1
        self.before = ")"

    def _blank(self, end: int, *masks: list[str]) -> None:
        for mask in masks:
            mask[self.at : end] = " " * (end - self.at)
        self.at = end


def _continues(line: str) -> bool:
    """True if a line ends in a backslash that continues its string: an odd number of them."""
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1
