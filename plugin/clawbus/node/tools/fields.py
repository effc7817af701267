"""The fields of the tools' parameters: how each is checked, and what a model reads of it."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo
from pydantic.alias_generators import to_camel

from clawbus.errors import InvalidInput
from clawbus.org.addressing import check_recipient
from clawbus.wire.envelope import TOOL, check_body
from clawbus.wire.subjects import check_id, check_task_id


def _wire(info: ValidationInfo) -> str:
    return to_camel(info.field_name or "params")


def _id(value: str, info: ValidationInfo) -> str:
    return check_id(_wire(info), value)


def _to(value: str, info: ValidationInfo) -> str:
    return check_recipient(_wire(info), value)


def _task_id(value: str, info: ValidationInfo) -> str:
    return check_task_id(_wire(info), value)


def _tool(value: str, info: ValidationInfo) -> str:
    if not re.fullmatch(TOOL, value):
        raise InvalidInput(_wire(info), value, "not a tool's name", "Write names such as exec, or web_* for all such.")
    return value


def _body(value: str, info: ValidationInfo) -> str:
    return check_body(_wire(info), value)


# The checks raise InvalidInput themselves: pydantic lets what is no ValueError through as it is.
Id = Annotated[str, AfterValidator(_id)]
TaskId = Annotated[str, AfterValidator(_task_id)]
Body = Annotated[str, AfterValidator(_body)]
AgentId = Annotated[Id, Field(description="An agent, team or pool")]
Recipient = Annotated[str, AfterValidator(_to), Field(description="An id, team:ID, all, topic:KIND.NAME or learning")]
Deadline = Annotated[int | None, Field(ge=1, le=43200, description="To be done by then")]
Label = Annotated[str | None, Field(max_length=200, description="Short name for lists")]
_Path = Annotated[str, Field(min_length=1, max_length=2000)]
Files = Annotated[
    tuple[_Path, ...] | None,
    Field(min_length=1, max_length=20, description="Paths in your workspace, or URIs that stay references"),
]
ToolsAllow = Annotated[
    tuple[Annotated[str, AfterValidator(_tool)], ...] | None,
    Field(max_length=64, description="The only tools it may use, such as read, web_*"),
]
Wait = Annotated[int, Field(ge=1, le=600)]
RunTimeout = Annotated[int | None, Field(ge=1, le=86400, description="Ends the agent's run after this time")]
