"""The mistakes of an org.toml: each with its line, its field, its value and the remedy."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clawbus.errors import ClawbusError, InvalidInput
from clawbus.org.toml_lines import Place, line_of

_SHOWN = 80
_NAMED = 24
"""A remedy names at most so many; a file of thousands would bury its own mistakes otherwise."""
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Wrong:
    """Something wrong at a place of the file, as a check has found it."""

    place: Place
    problem: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Mistake:
    """The same for a person. `line` counts from 1, None for the whole file; `value`: None if there is none."""

    line: int | None
    field: str
    value: str | None
    problem: str
    remedy: str

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        what = self.field if self.value is None else f"{self.field} = {self.value}"
        return f"{where}{what}: {self.problem}{f'. {self.remedy}' if self.remedy else ''}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class OrgMistakes(InvalidInput):
    """Every mistake of one org.toml. `problems` holds one line each, `mistakes` the same for programs."""

    def __init__(self, path: Path, mistakes: Sequence[Mistake]) -> None:
        self.mistakes, self.problems = tuple(mistakes), [str(mistake) for mistake in mistakes]
        ClawbusError.__init__(
            self,
            f"{path}: {len(mistakes)} mistake{'s' * (len(mistakes) > 1)}",
            "\n".join(f"  - {line}" for line in self.problems),
        )
        self.field, self.value = "org.toml", str(path)


def explained(found: Iterable[Wrong], data: Mapping[str, Any], lines: Mapping[Place, int]) -> list[Mistake]:
    """Mistakes in the order of the file. Of one place the first is kept: a field that is no id is not also unknown."""
    kept: dict[Place, Wrong] = {}
    for wrong in found:
        kept.setdefault(wrong.place, wrong)
    mistakes = [
        Mistake(line_of(lines, place), _field(place, data), _value(place, data), wrong.problem, wrong.remedy)
        for place, wrong in kept.items()
    ]
    return sorted(mistakes, key=lambda mistake: mistake.line or 0)


def near(word: object, known: Iterable[str], otherwise: str = "") -> str:
    """A remedy: the known name that looks like `word`, else `otherwise`, or what there is."""
    there = frozenset(known)
    names = _sorted(there)
    if close := _closest(str(word), there):
        return f"Did you mean {close!r}?"
    if otherwise or not names:
        return otherwise or "There are none."
    more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"There are: {', '.join(names[:_NAMED])}{more}."


# A gateway that is misspelt is misspelt in each of its agents.
@functools.lru_cache(maxsize=4096)
def _closest(word: str, known: frozenset[str]) -> str:
    return next(iter(difflib.get_close_matches(word, _sorted(known), 1)), "")


@functools.lru_cache(maxsize=8)
def _sorted(known: frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted(known))


def _field(place: Place, data: Mapping[str, Any]) -> str:
    """`agents[cto-athena].gateway` rather than `agents.1.gateway`: a person counts names, not indices."""
    words: list[str] = []
    here: Any = data
    for step in place:
        here = _step(here, step)
        if isinstance(step, int):
            name = here.get("id") if isinstance(here, dict) else None
            words[-1] += f"[{name if isinstance(name, str) else step + 1}]"
        else:
            words.append(step)
    return ".".join(words)


def _value(place: Place, data: Mapping[str, Any]) -> str | None:
    here: Any = data
    for step in place:
        here = _step(here, step)
    if here is _ABSENT or isinstance(here, dict):
        return None
    shown = repr(here)
    if place[:2] == ("bus", "url") and "@" in shown:  # there may be a password before it
        return None
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 20]}…"


def _step(here: Any, step: str | int) -> Any:
    try:
        return here[step]
    except (KeyError, IndexError, TypeError):
        return _ABSENT
