"""The JSON schemas of the tools as a model gets them: small, since every turn of an agent pays for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

MAX_BYTES = 6000
"""The most that the six function objects may weigh in a request to the model (about 1,500 tokens)."""


def compact_schema(model: type[BaseModel]) -> dict[str, Any]:
    """A model's JSON schema by its wire names, without titles and null branches.

    An optional field is one that is not in `required`.
    """
    whole = model.model_json_schema(by_alias=True)
    parts = whole.pop("$defs", {})
    schema: dict[str, Any] = _compact(_inlined(whole, parts))
    schema.pop("description", None)
    return schema


def _inlined(node: Any, parts: dict[str, Any]) -> Any:
    """With the parts in the place of what refers to them: each is used once, and models read it more easily."""
    if isinstance(node, list):
        return [_inlined(item, parts) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        part = parts[node["$ref"].rpartition("/")[2]]
        return {key: value for key, value in _inlined(part, parts).items() if key != "description"}
    return {key: _inlined(value, parts) for key, value in node.items()}


def in_words(schema: dict[str, Any]) -> str:
    """The values that a field takes, for an error's remedy and for docs/tools.md."""
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    match schema.get("type"):
        case "integer":
            return f"a whole number from {schema['minimum']} to {schema['maximum']}"
        case "array":
            what = "objects" if schema["items"].get("type") == "object" else "texts"
            return f"a list of {schema.get('minItems', 0)} to {schema['maxItems']} {what}"
        case "boolean":
            return "true or false"
    return f"a text of at most {schema['maxLength']} characters" if "maxLength" in schema else "a text"


def request_bytes(functions: Sequence[dict[str, Any]]) -> int:
    """The bytes of function objects as compact JSON, which is how a gateway sends them."""
    return sum(len(json.dumps(function, separators=(",", ":"), ensure_ascii=False).encode()) for function in functions)


def _compact(node: Any, *, named: bool = False) -> Any:
    """`named`: the keys of this object are field names; one may well be called `title`."""
    if isinstance(node, list):
        return [_compact(item) for item in node]
    if not isinstance(node, dict):
        return node
    slim = {
        key: _compact(value, named=key == "properties" and not named)
        for key, value in node.items()
        if named or not (key == "title" or (key == "default" and value is None))
    }
    branches = [branch for branch in slim.get("anyOf", []) if branch != {"type": "null"}]
    if len(branches) == 1:
        del slim["anyOf"]
        return branches[0] | slim
    return slim
