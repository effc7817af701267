"""Mistakes within single fields of an org.toml: what pydantic found, in words that say what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from clawbus.org.duration import in_words
from clawbus.org.mistakes import Wrong, near
from clawbus.org.org import Org
from clawbus.org.toml_lines import Place

_KINDS = (
    ("int", "not a whole number", "Write it without quotes, point or fraction, such as 5."),
    ("bool", "neither true nor false", "Write true or false, without quotes."),
    ("string", "not a text", "Put it in quotes."),
)
"""Of a value of the wrong kind: how pydantic's name of the error begins, problem and remedy."""


def field_mistakes(error: ValidationError) -> Iterator[Wrong]:
    """One for each field that pydantic has refused."""
    for detail in error.errors():
        if detail["type"] == "too_short" and detail["input"]:  # it counts only those that are right
            continue
        yield _wrong(detail)


def _wrong(detail: ErrorDetails) -> Wrong:
    return _of_its_presence(detail) or _of_its_words(detail) or _out_of_bounds(detail) or _of_another_kind(detail)


def _of_its_presence(detail: ErrorDetails) -> Wrong | None:
    """A field that nobody knows, and one that is not there, or has nothing in it."""
    kind, place = detail["type"], detail["loc"]
    if kind == "extra_forbidden":
        return Wrong(place, "unknown field", near(place[-1], _names_at(place[:-1])))
    if kind == "missing":
        return Wrong(place, "missing", f"Add {_written(place)}." if _holds_tables(place) else "Add it.")
    return Wrong(place, "empty", "Name at least one.") if kind == "too_short" else None


def _of_its_words(detail: ErrorDetails) -> Wrong | None:
    """A text that is none of those that it may be."""
    kind, place, message = detail["type"], detail["loc"], detail["msg"]
    if kind == "literal_error":
        return Wrong(place, "unknown", near(detail["input"], re.findall(r"'([^']+)'", message)))
    if kind == "value_error":
        problem, _, remedy = message.removeprefix("Value error, ").partition(". ")
        return Wrong(place, problem.rstrip("."), remedy)
    if kind == "string_pattern_mismatch" and "delegates" in place:
        return Wrong(place, "not the name of a tool", "Write such as read, or web_* for all that begin so.")
    if kind == "string_pattern_mismatch":
        return Wrong(place, "not a word of a subject", "Use 1 to 32 of a-z, 0-9 and '-', the first no '-'.")
    return None


def _out_of_bounds(detail: ErrorDetails) -> Wrong | None:
    bounds, place = detail.get("ctx", {}), detail["loc"]
    for name, problem, remedy in (
        ("ge", "less than", "or more"),
        ("le", "more than", "or less"),
        ("max_length", "more than", "or fewer"),
    ):
        if name in bounds:
            field, _ = _field_at(place) or ("", None)
            bound = in_words(bounds[name]) if field.endswith("_s") else str(bounds[name])
            return Wrong(place, f"{problem} {bound}", f"Write {bound} {remedy}.")
    return None


def _of_another_kind(detail: ErrorDetails) -> Wrong:
    kind, place = detail["type"], detail["loc"]
    if kind == "tuple_type":
        remedy = f"Write {_written(place)}." if _holds_tables(place) else 'Put it in brackets: ["one", "two"].'
        return Wrong(place, "not a list", remedy)
    for begins, problem, remedy in _KINDS:
        if kind.startswith(begins):
            return Wrong(place, problem, remedy)
    return Wrong(place, "not a table", f"Write {_written(place)}.")


def _written(place: Place) -> str:
    """The first line of a table at a place: [bus], [[agents]]; within others it is { key = value }."""
    if _holds_tables(place):
        return f"[[{place[0]}]]"
    return f"[{place[0]}]" if len(place) == 1 else "{ key = value }"


def _holds_tables(place: Place) -> bool:
    """True if a list of tables stands there, or one of its entries."""
    top = _field_at(place[:1])
    a_list = top is not None and get_origin(top[1].annotation) is tuple
    return a_list and len(place) == 1 + isinstance(place[-1], int)


def _names_at(place: Place) -> list[str]:
    """The fields that may stand at a place, as the file writes them."""
    found = _field_at(place)
    model = _model_in(found[1].annotation) if found else None if place else Org
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def _field_at(place: Place) -> tuple[str, FieldInfo] | None:
    """The field that a place belongs to, and its name in Python."""
    model: type[BaseModel] | None = Org
    found: tuple[str, FieldInfo] | None = None
    for step in (step for step in place if isinstance(step, str)):
        fields = model.model_fields.items() if model else ()
        found = next(((name, field) for name, field in fields if step in (name, field.alias)), None)
        model = _model_in(found[1].annotation) if found else None
    return found


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation such as `tuple[Agent, ...]` or `Channel | None` holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for argument in get_args(annotation) if (model := _model_in(argument))), None)
