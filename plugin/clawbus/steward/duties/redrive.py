"""Dead letters: each one alerts people, who redrive it or prune it (`clawbus dead`).

A redrive gives the task again, to the same address or to another. The new task is the steward's. Its parent is the dead
one, and it keeps its path and its hops. Its result goes to the first requester, as that of a chain does.
"""

from __future__ import annotations

import logging
from typing import Any, ClassVar

from clawbus.bus import SignedCopy, Stored
from clawbus.errors import Away, ClawbusError, WireError
from clawbus.org import STEWARD
from clawbus.org.tool_bounds import bound_of
from clawbus.steward.context import in_line
from clawbus.steward.duty import Duty
from clawbus.tasks.chains import path_on_behalf
from clawbus.tasks.new_task import lifetime
from clawbus.wire.channels import DEAD
from clawbus.wire.envelope import Envelope, cut, decode, now
from clawbus.wire.strict_json import read_object

log = logging.getLogger(__name__)
_REASON_BYTES = 4096
"""The most of a reason that an alert quotes: agents write dead letters, and alerts go to chats and webhooks."""


class Redrive(Duty):
    """People order by control messages: {"do": "redrive" or "prune", "to": …} about one letter, which `task_id` names;
    {"do": "purge", "seq": …} about all letters before that sequence, whoever has written them.
    """

    rule: ClassVar[str] = "dead"

    async def on_dead(self, task_id: str, letter: dict[str, Any]) -> None:
        reason = cut(str(letter.get("reason")), _REASON_BYTES)
        again = f"Again: clawbus dead redrive {task_id}\n" if letter.get("envelope") else ""
        text = (
            f"Dead letter {task_id}: {in_line(reason)}\nIt had come on {in_line(str(letter.get('subject')))[:300]}.\n\n"
            f"Look: clawbus dead show {task_id}\n{again}Enough: clawbus dead prune {task_id}"
        )
        if letter.get("refused"):  # a forged message: `forged_messages` alerts once for each name
            return
        if await self._letters(task_id):  # else a person has decided before this steward came to it
            await self.context.alert(self.rule, task_id, True, text, reason=reason)

    async def on_control(self, note: Envelope) -> None:
        order = _object(note.body)
        if order.get("do") not in ("redrive", "prune", "purge") or (note.task_id is None) != (order["do"] == "purge"):
            return
        if note.sender not in self.context.org.people:
            log.warning("%s ordered to %s dead letters (%s): only people may", note.sender, order["do"], note.task_id)
            return
        if note.task_id is None:
            await self._purge(order.get("seq"), note.sender)
            return
        letters = await self._letters(note.task_id)
        if not letters:
            return
        done = f"pruned by {note.sender}"
        if order["do"] == "redrive":
            try:
                new = await self._redrive(note.task_id, letters, str(order.get("to") or ""), note.sender)
            except Away:
                raise
            except ClawbusError as error:  # such as a full backlog, an agent that has left, bytes that are no task
                cause, subject = (self.rule, note.id), "not redriven"
                await self.context.tell(
                    note.sender, f"Dead letter {note.task_id}: {error}", cause=cause, subject=subject
                )
                return
            done = f"redriven by {note.sender} as task {new}"
        await self.context.alert(self.rule, note.task_id, False, done)
        pattern = self.context.subjects.filter("dead", task=note.task_id)
        await self.context.bus.api(f"STREAM.PURGE.{DEAD}", {"filter": pattern})
        log.info("dead letter %s: %s", note.task_id, done)

    async def _purge(self, seq: object, by: str) -> None:
        """Remove all letters before a sequence."""
        # At once: one by one would take too long for a full stream, and would leave the letters that nobody has signed.
        if not isinstance(seq, int) or seq < 1:
            log.warning("%s ordered to purge dead letters before %r, which is no number of one", by, seq)
            return
        done = await self.context.bus.api(f"STREAM.PURGE.{DEAD}", {"seq": seq})
        for alert in await self.context.alerts.raised(self.rule):
            if not await self._letters(alert.key):
                await self.context.alert(self.rule, alert.key, False, f"pruned by {by}")
        log.info("%s dead letters pruned by %s", done.get("purged"), by)

    async def _letters(self, task_id: str) -> list[Stored]:
        pattern = self.context.subjects.filter("dead", task=task_id)
        return await self.context.bus.stored_singly(DEAD, pattern)

    async def _redrive(self, task_id: str, letters: list[Stored], to: str, by: str) -> str:
        """Give the task again. Returns its new id. Raises ClawbusError; then the letter stays."""
        seq, old = letters[0].seq, await self._task(task_id, letters[0])
        address = to or old.to
        self.context.org.takers(address, "to")
        ids, created = self.context.given(self.rule, task_id, seq), now()
        new_id = ids["task_id"]
        task = old.model_copy(
            update={
                "id": self.context.message_id(new_id),
                "sender": STEWARD,
                "to": address,
                **ids,
                "takers": self.context.org.members(address) or None,
                "tools": bound_of(self.context.org, old),
                "path": path_on_behalf(old),
                "parent": task_id,
                "created_at": created,
                "expires_at": created + lifetime(self.context.org),
            }
        )
        await self.context.give(task, again_by=by, **await self._first_requester(old, by))
        detail = {"to": address, "started": True, "task": new_id, "why": f"redriven by {by}"}
        await self.context.event("chained", task_id, cause=(self.rule, task_id, seq), **detail)
        return new_id

    async def _task(self, task_id: str, letter: Stored) -> Envelope:
        """The task of a letter, as its sender has signed it. Raises ClawbusError if the letter holds no such task."""
        # An agent writes the letter, but it cannot put words into the mouth of the task's sender.
        subjects = self.context.subjects
        try:
            kept = SignedCopy.read(_object(letter.data).get("signed"), letter.at)
            await self.context.bus.verifier.check(kept, sent_now=False)
            task = decode(kept.data, subjects.parse(kept.subject).sender)
        except WireError as error:
            problem = f"{task_id} holds no task that could be given again: {error.message}"
            raise ClawbusError(problem, "Prune it.") from None
        if (task.type, task.task_id, task.to) != ("task", task_id, subjects.addressed(kept.subject)):
            raise ClawbusError(f"{task_id} holds another task than it says", "Prune it.")
        return task

    async def _first_requester(self, old: Envelope, by: str) -> dict[str, Any]:
        """The first task and its requester, who gets the result after any number of redrives."""
        if old.sender != STEWARD:
            return {"chain_of": old.task_id, "requester": old.sender}
        given = await self.context.accepted(old.task_id or "", STEWARD)
        if given is not None and "chain_of" in given.detail:
            return {name: given.detail[name] for name in ("chain_of", "requester")}
        return {"chain_of": old.task_id, "requester": by}  # the steward's own, such as recurring work


def _object(data: str | bytes) -> dict[str, Any]:
    """The JSON object of a letter or an order; an empty one if it is none: others' words are data."""
    try:
        return read_object(data)
    except WireError:
        return {}
