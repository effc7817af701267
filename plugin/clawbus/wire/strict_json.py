"""JSON from elsewhere: one object in UTF-8, or a WireError. No other module parses what the bus brings.

It is stricter than RFC 8259 where two readers of the same bytes could understand two things, or where one of them
could fail later. It refuses a key that stands twice, NaN, infinity, a number beyond 64 bits, half a surrogate pair,
and deep nesting. It reads UTF-8 only, while `json.loads` would guess UTF-16 and UTF-32.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, NoReturn

from clawbus.errors import WireError

_DEEPEST = 32
_LARGEST = 2**63


def read_object(data: bytes | str) -> dict[str, Any]:
    """Parse the object of a message, a dead letter or a call. Raises WireError with the reason."""
    try:
        text = data.decode() if isinstance(data, bytes) else data
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
        if not isinstance(found, dict):
            raise WireError("not a JSON object")
        _look_at(found)
    except UnicodeError:
        raise WireError("not UTF-8") from None
    except RecursionError:
        raise WireError(f"nested deeper than {_DEEPEST}") from None
    except ValueError as error:
        raise WireError(f"not JSON: {error}") from None
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise WireError("a key stands twice in one object")
    return found


def _no_number(word: str) -> NoReturn:
    raise WireError(f"{word} is no number of JSON")


def _look_at(value: Any, depth: int = 0) -> None:
    """Check a value and all that is in it. Raises WireError, or UnicodeError for half a surrogate pair."""
    if depth > _DEEPEST:
        raise WireError(f"nested deeper than {_DEEPEST}")
    for part in _parts(value):
        if isinstance(part, str):
            part.encode()  # raises UnicodeError
        elif isinstance(part, float) and not math.isfinite(part):
            raise WireError("a number beyond what a float holds")
        elif isinstance(part, int) and not -_LARGEST <= part < _LARGEST:
            raise WireError("a number beyond 64 bits")
        elif isinstance(part, dict | list):
            _look_at(part, depth + 1)


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value
        yield from value.values()
    else:
        yield from value
