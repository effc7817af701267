"""The flow of tasks on a terminal: a line for each event as it happens, and the report at the end.

What to print is a pure function of the events; `Screen` only writes it. It works in a pipe, without colour,
in a narrow window and where only ASCII can be printed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TextIO

from clawbus.cli.output import short
from clawbus.settings import variable
from clawbus.wire.sanitize import inert

if TYPE_CHECKING:
    from clawbus.client.watch import WatchEvent

_STATES: dict[str, tuple[str, str]] = {
    "accepted": ("queued", ""),
    "delivered": ("delivered", ""),
    "started": ("running", "36"),
    "progress": ("progress", "2"),
    "interrupted": ("interrupted", "31"),
    "retrying": ("retrying", "33"),
    "resumed": ("resumed", "33"),
    "announced": ("announced", "36"),
    "raised": ("blocked", "31"),
    "escalated": ("escalated", "33"),
    "resolved": ("resolved", "32"),
    "chained": ("chained", "36"),
    "steered": ("steered", "36"),
    "waiting_approval": ("waiting_approval", "33"),
    "approved": ("approved", "32"),
    "refused": ("refused", "31"),
    "breached": ("late", "31"),
    "alert": ("alert raised", "31"),
    "cleared": ("alert cleared", "32"),
    "seen": ("seen", "2"),
    "done": ("done", "32"),
    "failed": ("failed", "31"),
    "cancelled": ("cancelled", "33"),
    "timed_out": ("timed_out", "31"),
    "dead": ("dead", "31"),
}
"""The word for each kind of event, here and in `clawbus replay`, and its colour (SGR). States have their names."""

_WIDE = 76
_BESIDE_WHO = 39
"""Columns of time, id and the longest state, in a wide terminal."""
_LONGEST = 2_000
"""Characters of others that are looked at: no line shows more, and `clawbus up` does nothing else meanwhile."""


@dataclass(frozen=True, slots=True)
class Style:
    """The abilities of a terminal. `width` is in columns."""

    width: int = 80
    colour: bool = False
    unicode: bool = True

    @property
    def arrow(self) -> str:
        return "→" if self.unicode else "->"

    @property
    def ellipsis(self) -> str:
        return "…" if self.unicode else "..."


def word_of(kind: str) -> str:
    """The word for a kind of event; the kind itself where it has no other."""
    return _STATES.get(kind, (kind, ""))[0]


def flow_lines(event: WatchEvent, start: datetime, style: Style) -> list[str]:
    """The lines for one event: one in a wide terminal, two in a narrow one."""
    seconds = max(0.0, (event.at - start).total_seconds())
    word, colour = word_of(event.kind), _STATES.get(event.kind, ("", ""))[1]
    who, to, task_id, detail = (
        _printable(_one_line(text), style) for text in (event.who, event.to, event.task_id, event.detail)
    )
    who, task_id = f"{who} {style.arrow} {to}" if to else who, short(task_id)
    if style.width >= _WIDE:
        who = _pad(_clip(who, style.width - _BESIDE_WHO, style.ellipsis), 27)
        head = f"{seconds:7.2f} s  {who}  {task_id:<8}  "
        rows = [(head, f"{word:<11}", f"  {detail}")]
    else:
        rows = [(f"{seconds:.2f} s {task_id} ", word, ""), ("  ", "", f"{who}{': ' if detail else ''}{detail}")]
    return [_row(row, colour, style) for row in rows]


def final_lines(report: str, timeline: str, commands: Sequence[str], style: Style) -> list[str]:
    """The end of the demo: the report, where its timeline lies, what to try next."""
    body = [f"  {line}".rstrip() for line in _printable(inert(report), style).split("\n")]
    tries = [f"  {command}" for command in commands]
    return ["", "Report", *body, "", f"Timeline: {_printable(inert(timeline), style)}", "", "Try next:", *tries]


class Screen:
    """Writes the flow to a stream. `start` is the first event's time, and `style` is found out
    from the stream, unless they are given."""

    def __init__(self, stream: TextIO, start: datetime | None = None, style: Style | None = None) -> None:
        self._stream, self._start = stream, start
        self.style = style or detect(stream)

    def say(self, text: str) -> None:
        """A line of ours, such as which model is used."""
        self._write([_printable(inert(text), self.style)])

    def show(self, event: WatchEvent) -> None:
        self._start = self._start or event.at
        self._write(flow_lines(event, self._start, self.style))

    def finish(self, report: str, timeline: str, commands: Sequence[str]) -> None:
        self._write(final_lines(report, timeline, commands, self.style))

    def _write(self, lines: Sequence[str]) -> None:
        self._stream.write("".join(f"{line}\n" for line in lines))
        self._stream.flush()


def detect(stream: TextIO) -> Style:
    """The abilities of a stream. Colour needs a terminal, and NO_COLOR (no-color.org) turns it off."""

    terminal = stream.isatty()
    try:
        width = os.get_terminal_size(stream.fileno()).columns if terminal else 100
    except (OSError, ValueError):
        width = 80
    colour = terminal and variable("NO_COLOR") is None and variable("TERM") != "dumb"
    encoding = (stream.encoding or "ascii").lower().replace("-", "")
    return Style(width=width or 80, colour=colour, unicode=encoding in ("utf8", "utf8sig", "utf16", "utf32"))


def _row(row: tuple[str, str, str], colour: str, style: Style) -> str:
    from rich.cells import cell_len

    head, word, rest = row
    room = max(style.width - cell_len(head) - cell_len(word), 0)
    rest = _clip(rest.rstrip(), room, style.ellipsis)
    if style.colour and colour and word:
        word = f"\x1b[{colour}m{word}\x1b[0m"
    line = head + word + rest
    return line if style.colour else line.rstrip()


def _printable(text: str, style: Style) -> str:
    return text if style.unicode else text.encode("ascii", "backslashreplace").decode()


def _one_line(text: str) -> str:
    return inert(" ".join(text[:_LONGEST].split()), lines=False)


def _pad(text: str, columns: int) -> str:
    from rich.cells import cell_len

    return text + " " * max(0, columns - cell_len(text))


def _clip(text: str, columns: int, ellipsis: str) -> str:
    """At most so many columns; East Asian letters take two each."""
    from rich.cells import cell_len

    taken, kept = 0, 0
    for at, char in enumerate(text):
        taken += cell_len(char)
        if taken <= columns - len(ellipsis):
            kept = at + 1
        if taken > columns:
            return text[:kept] + ellipsis if columns >= len(ellipsis) else ""
    return text
