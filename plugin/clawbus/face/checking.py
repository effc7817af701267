"""What a program hands over, checked and put into its envelope: what a model refuses there is the caller's mistake."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from pydantic import ValidationError

from clawbus.envelope import Envelope, OnComplete
from clawbus.errors import InvalidInput
from clawbus.mailbox import NewMessage, make_message
from clawbus.org import Org
from clawbus.tasks import NewTask, make_task


def task_envelope(org: Org, sender: str, new: NewTask, then: str | None) -> Envelope:
    """As `make_task`; `then` takes over when it is done. Raises InvalidInput, NotFound, Refused."""
    with _callers():
        org.takers(new.to, "to")
        return make_task(org, sender, replace(new, then=OnComplete(to=then) if then else None))


def mail_envelope(org: Org, sender: str, new: NewMessage) -> Envelope:
    """As `make_message`. Raises InvalidInput, NotFound."""
    with _callers():
        return make_message(org, sender, new)


@contextlib.contextmanager
def _callers() -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        detail = error.errors()[0]
        field = ".".join(str(part) for part in detail["loc"])
        raise InvalidInput(field, detail["input"], "refused", f"{detail['msg'].replace('Input', 'It')}.") from None
