"""A person's side of dead letters: what lies there, and the order to the steward to redrive or prune it."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clawbus.bus import Bus
from clawbus.client.company import Company
from clawbus.errors import Away, InvalidInput, NotFound, WireError
from clawbus.org import STEWARD
from clawbus.wire.channels import DEAD
from clawbus.wire.envelope import Envelope
from clawbus.wire.strict_json import read_object
from clawbus.wire.subjects import new_message_id

_PATIENCE_S = 15.0
_AGAIN_S = 0.2


@dataclass(frozen=True, slots=True)
class Letter:
    task_id: str
    by: str
    said: dict[str, Any]

    @property
    def task(self) -> dict[str, Any]:
        task = self.said.get("envelope")
        return task if isinstance(task, dict) else {}

    def word(self, name: str) -> str:
        """A field of the letter as text: agents write letters, and one may have written anything there."""
        return text_of(self.said.get(name))

    def as_json(self) -> dict[str, Any]:
        return {"task_id": self.task_id, "by": self.by} | self.said


async def prune_all(bus: Bus, company: Company, me: str) -> list[str]:
    """All that lies there now, signed or not, by one order; returns the ids under which it lay. Raises Away, Refused.

    A full stream is not read for it: its subjects say what there is.
    """
    every = company.subjects.everything("dead")
    state = (await bus.api(f"STREAM.INFO.{DEAD}", {"subjects_filter": every}))["state"]
    if not state["messages"]:
        return []
    await order(bus, company, me, None, {"do": "purge", "seq": state["last_seq"] + 1}, state["last_seq"])
    subjects = state.get("subjects") or {}
    return list(dict.fromkeys(subject.split(".")[2] for subject in subjects))


async def order(
    bus: Bus, company: Company, me: str, task_id: str | None, what: Mapping[str, object], last_seq: int | None = None
) -> None:
    """Tell the steward, and wait until the letter has gone, or all up to `last_seq`. Raises Away."""
    body = json.dumps(what)
    note = Envelope(id=new_message_id(me), type="control", sender=me, to=STEWARD, task_id=task_id, body=body)
    await bus.publish(company.subjects.ctl(STEWARD, me), note.encode(), msg_id=note.id)
    subjects, deadline = company.subjects, time.monotonic() + _PATIENCE_S
    pattern = subjects.filter("dead", task=task_id) if task_id is not None else subjects.everything("dead")
    while time.monotonic() < deadline:
        left = await bus.next_message(DEAD, pattern)
        if left is None or (last_seq is not None and left.seq > last_seq):
            return
        await asyncio.sleep(_AGAIN_S)
    which = f"the letter {task_id} is" if task_id is not None else "dead letters are"
    raise Away(
        f"{which} still there after {_PATIENCE_S:g} s: no steward is running, or it said no",
        f"Look: clawbus inbox {me}. A steward is started by `clawbus up`, or by `clawbus steward`.",
    )


async def letters_of(bus: Bus, company: Company) -> list[Letter]:
    found = []
    for stored in await bus.stored(DEAD, company.subjects.everything("dead")):
        with contextlib.suppress(WireError):  # on a subject that is none, or not its sender's
            parsed = company.subjects.parse(stored.subject)
            await bus.verifier.check(stored)
            found.append(Letter(parsed.task_id or "", parsed.sender, _said(stored.data)))
    return found


def _said(data: bytes) -> dict[str, Any]:
    try:
        return read_object(data)
    except WireError as error:
        return {"reason": f"the letter itself cannot be read: {error}"}


def text_of(value: object) -> str:
    if isinstance(value, list | tuple):
        return " -> ".join(map(str, value))
    return "" if value is None else str(value)


async def find_letter(bus: Bus, company: Company, text: str) -> Letter:
    """Raises NotFound, or InvalidInput if several begin so."""
    fitting = [letter for letter in await letters_of(bus, company) if letter.task_id.startswith(text)]
    if not fitting:
        raise NotFound(f"no dead letter begins with {text}", "List them: clawbus dead list")
    if len({letter.task_id for letter in fitting}) > 1:
        raise InvalidInput("ID", text, f"{len(fitting)} dead letters begin so", "Write more of it.")
    return fitting[0]


def raw_of(said: dict[str, Any]) -> str:
    try:
        return base64.b64decode(str(said.get("raw", ""))).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""
