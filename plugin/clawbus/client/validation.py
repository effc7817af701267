"""What a program hands over, checked and put into its envelope: what a model refuses there is the caller's mistake."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

from pydantic import ValidationError

from clawbus.errors import InvalidInput, NotFound
from clawbus.org import STEWARD, Org
from clawbus.tasks import NewTask, make_task
from clawbus.tasks.new_message import NewMessage, make_message
from clawbus.wire.envelope import Envelope, MessageType, OnComplete


def task_envelope(org: Org, sender: str, new: NewTask, then: str | None) -> Envelope:
    """As `make_task`; `then` takes over when it is done. Raises InvalidInput, NotFound, Refused."""
    with _callers():
        org.takers(new.to, "to")
        return make_task(org, sender, replace(new, then=OnComplete(to=then) if then else None))


def mail_envelope(org: Org, sender: str, new: NewMessage) -> Envelope:
    """As `make_message`. Raises InvalidInput, NotFound."""
    with _callers():
        mail = make_message(org, sender, new)
    if new.type not in get_args(MessageType):
        raise InvalidInput("type", new.type, "no message", f"One of: {', '.join(get_args(MessageType))}.")
    return mail


def check_member(org: Org, name: str) -> str:
    """The name, if it is of somebody who has an inbox. Raises NotFound."""
    members = [agent.id for agent in org.agents] + sorted(org.people)
    if name not in members and name != STEWARD:
        raise NotFound(f"{name!r} has no inbox in {org.company}", f"There are: {', '.join(members)}.")
    return name


@contextlib.contextmanager
def _callers() -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        detail = error.errors()[0]
        field = ".".join(str(part) for part in detail["loc"])
        raise InvalidInput(field, detail["input"], "refused", f"{detail['msg'].replace('Input', 'It')}.") from None
