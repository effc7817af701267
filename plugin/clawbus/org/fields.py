"""Mistakes within single fields of an org.toml: what pydantic found, in words that say what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from clawbus.org.lines import Place
from clawbus.org.mistakes import Wrong, near
from clawbus.org.org import Org


def field_mistakes(error: ValidationError) -> Iterator[Wrong]:
    """One for each field that pydantic has refused."""
    for detail in error.errors():
        if detail["type"] == "too_short" and detail["input"]:  # it counts only those that are right
            continue
        yield _wrong(detail["type"], detail["loc"], detail["msg"], detail["input"])


def _wrong(kind: str, place: Place, message: str, value: Any) -> Wrong:
    if kind == "extra_forbidden":
        return Wrong(place, "unknown field", near(place[-1], _names_at(place[:-1])))
    if kind == "missing":
        return Wrong(place, "missing", "Add it.")
    if kind == "too_short":
        return Wrong(place, "empty", "Name at least one.")
    if kind == "literal_error":
        return Wrong(place, "unknown", near(value, re.findall(r"'([^']+)'", message)))
    problem, _, remedy = message.removeprefix("Value error, ").partition(". ")
    return Wrong(place, problem.replace("Input should", "it should").rstrip("."), remedy)


def _names_at(place: Place) -> list[str]:
    """The fields that may stand at a place, as the file writes them."""
    model: type[BaseModel] | None = Org
    for step in place:
        if isinstance(step, str) and model is not None:
            fields = model.model_fields
            field = fields.get(step) or next((one for one in fields.values() if one.alias == step), None)
            model = _model_in(field.annotation) if field else None
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation such as `tuple[Agent, ...]` or `Channel | None` holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for one in get_args(annotation) if (model := _model_in(one))), None)
