"""Durations as a person writes them: "90s", "30m", "72h", "14d", or a number of seconds."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_TEXT = re.compile(r"(\d{1,9})\s*([smhd])")


def seconds(value: object) -> object:
    """Seconds of a duration. Raises ValueError, with what would be right."""
    if isinstance(value, str):
        found = _TEXT.fullmatch(value.strip())
        if found is None:
            raise ValueError('not a duration. Write it as "90s", "30m", "72h" or "14d".')
        return int(found[1]) * _UNIT_S[found[2]]
    if isinstance(value, bool | float | list | dict):
        raise ValueError('not a duration. Write it as "90s", "30m", "72h" or "14d".')  # noqa: TRY004 - pydantic
    return value


Seconds = Annotated[int, BeforeValidator(seconds)]


def in_words(value_s: int) -> str:
    """The shortest way to write so many seconds: 300 is "5m"."""
    for unit in ("d", "h", "m"):
        if value_s and value_s % _UNIT_S[unit] == 0:
            return f"{value_s // _UNIT_S[unit]}{unit}"
    return f"{value_s}s"
