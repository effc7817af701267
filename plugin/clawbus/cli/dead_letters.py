"""`clawbus dead`: letters that could not be dealt with, and what a person has done with them."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from clawbus.bus import Bus
from clawbus.cli.options import Group, as_option, beginning, json_option, org_option, run_async
from clawbus.cli.output import print_json, put_line, put_text, say
from clawbus.client.company import Company
from clawbus.errors import Away, InvalidInput, NotFound, Refused, WireError
from clawbus.org import STEWARD
from clawbus.wire.channels import DEAD
from clawbus.wire.envelope import Envelope
from clawbus.wire.strict_json import read_object
from clawbus.wire.subjects import new_message_id

_PATIENCE_S = 15.0
_AGAIN_S = 0.2


@dataclass(frozen=True, slots=True)
class _Letter:
    task_id: str
    by: str
    said: dict[str, Any]

    @property
    def task(self) -> dict[str, Any]:
        task = self.said.get("envelope")
        return task if isinstance(task, dict) else {}

    def word(self, name: str) -> str:
        """A field of the letter as text: agents write letters, and one may have written anything there."""
        return _text(self.said.get(name))

    def as_json(self) -> dict[str, Any]:
        return {"task_id": self.task_id, "by": self.by} | self.said


@click.group(cls=Group)
def dead_command() -> None:
    """Look at dead letters, give their tasks again, or throw them away. ID may be shortened to its first letters."""


@dead_command.command(name="list")
@as_option
@org_option
@json_option
@run_async
async def list_letters(person: str | None, org_file: Path, as_json: bool) -> int:
    """List the letters that wait for a decision: what it was, and why it is here."""
    company = Company.open(org_file)
    async with company.connect_person(person) as (bus, _):
        letters = await _letters(bus, company)
    if as_json:
        print_json([letter.as_json() for letter in letters])
        return 0
    for letter in letters:
        who = f"{letter.task.get('from')} -> {letter.task.get('to')}" if letter.task else f"put down by {letter.by}"
        label = f"  {letter.task['subject']}" if letter.task.get("subject") else ""
        put_line(f"{letter.task_id}  {letter.word('at')[:19]}  {who}{label}")
        put_text(letter.word("reason"), indent=4)
    if not letters:
        put_line("There are no dead letters.")
    return 0


@dead_command.command()
@click.argument("text", metavar="ID", callback=beginning)
@as_option
@org_option
@json_option
@run_async
async def show(text: str, person: str | None, org_file: Path, as_json: bool) -> int:
    """Show one letter: the reason, and the task as it was; of what was no task, the bytes as they came."""
    company = Company.open(org_file)
    async with company.connect_person(person) as (bus, _):
        letter = await _find(bus, company, text)
    if as_json:
        print_json(letter.as_json())
        return 0
    said, task = letter.said, letter.task
    rows = [
        ("letter", letter.task_id),
        ("put down by", letter.by),
        ("at", said.get("at")),
        ("reason", said.get("reason")),
        ("came on", said.get("subject")),
        ("from", task.get("from")),
        ("to", task.get("to")),
        ("label", task.get("subject")),
        ("priority", task.get("priority")),
        ("path", _text(task.get("path"))),
    ]
    for name, value in rows:
        if value:
            put_line(f"{name:>11}  {_text(value)}")
    put_text(f"\n{_text(task.get('body')) or _raw(said)}")
    return 0


@dead_command.command()
@click.argument("text", metavar="ID", callback=beginning)
@click.option("--to", metavar="AGENT", help="Another address than it had.")
@as_option
@org_option
@json_option
@run_async
async def redrive(text: str, to: str | None, person: str | None, org_file: Path, as_json: bool) -> int:
    """Give the task of a letter again. Its result goes to who had asked for it."""
    company = Company.open(org_file)
    if to is not None:
        company.org.takers(to, "--to")
    async with company.connect_person(person) as (bus, me):
        letter = await _find(bus, company, text)
        if not letter.task:
            raise Refused(f"{letter.task_id} was no task: there is nothing to give again", "Prune it.")
        if to is None:  # who it was for may have left
            company.org.takers(_text(letter.task.get("to")), "--to")
        await _order(bus, company, me, letter.task_id, {"do": "redrive", **({"to": to} if to else {})})
        events = await company.history(bus).events(letter.task_id)
    new = [str(one.detail.get("task")) for one in events if one.kind == "chained" and one.sender == STEWARD][-1:]
    data = {"task_id": letter.task_id, "redriven_as": new[0] if new else None}
    say(data, f"redriven as {new[0]}" if new else "redriven", as_json)
    return 0


@dead_command.command()
@click.argument("texts", metavar="[ID]...", nargs=-1, callback=beginning)
@click.option("--all", "every", is_flag=True, help="All letters that there are.")
@as_option
@org_option
@json_option
@run_async
async def prune(texts: Sequence[str], every: bool, person: str | None, org_file: Path, as_json: bool) -> int:
    """Throw letters away, and clear their alerts. What had asked for them has been told when they died."""
    if bool(texts) == every:
        raise InvalidInput("ID", " ".join(texts), "name letters, or say --all; not both", "List: clawbus dead list")
    company = Company.open(org_file)
    async with company.connect_person(person) as (bus, me):
        if every:
            ids = await _prune_all(bus, company, me)
        else:
            letters = [await _find(bus, company, text) for text in texts]
            ids = list(dict.fromkeys(letter.task_id for letter in letters))
            for task_id in ids:
                await _order(bus, company, me, task_id, {"do": "prune"})
    say({"pruned": ids}, f"{len(ids)} pruned", as_json)
    return 0


async def _prune_all(bus: Bus, company: Company, me: str) -> list[str]:
    """All that lies there now, signed or not, by one order; returns the ids under which it lay. Raises Away, Refused.

    A full stream is not read for it: its subjects say what there is.
    """
    every = company.subjects.everything("dead")
    state = (await bus.api(f"STREAM.INFO.{DEAD}", {"subjects_filter": every}))["state"]
    if not state["messages"]:
        return []
    await _order(bus, company, me, None, {"do": "purge", "seq": state["last_seq"] + 1}, state["last_seq"])
    subjects = state.get("subjects") or {}
    return list(dict.fromkeys(one.split(".")[2] for one in subjects))


async def _order(
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


async def _letters(bus: Bus, company: Company) -> list[_Letter]:
    found = []
    for stored in await bus.stored(DEAD, company.subjects.everything("dead")):
        with contextlib.suppress(WireError):  # on a subject that is none, or not its sender's
            parsed = company.subjects.parse(stored.subject)
            await bus.verifier.check(stored)
            found.append(_Letter(parsed.task_id or "", parsed.sender, _said(stored.data)))
    return found


def _said(data: bytes) -> dict[str, Any]:
    try:
        return read_object(data)
    except WireError as error:
        return {"reason": f"the letter itself cannot be read: {error}"}


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return " -> ".join(map(str, value))
    return "" if value is None else str(value)


async def _find(bus: Bus, company: Company, text: str) -> _Letter:
    """Raises NotFound, or InvalidInput if several begin so."""
    fitting = [letter for letter in await _letters(bus, company) if letter.task_id.startswith(text)]
    if not fitting:
        raise NotFound(f"no dead letter begins with {text}", "List them: clawbus dead list")
    if len({letter.task_id for letter in fitting}) > 1:
        raise InvalidInput("ID", text, f"{len(fitting)} dead letters begin so", "Write more of it.")
    return fitting[0]


def _raw(said: dict[str, Any]) -> str:
    try:
        return base64.b64decode(str(said.get("raw", ""))).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""
