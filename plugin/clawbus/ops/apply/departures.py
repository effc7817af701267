"""The backlog of those who have left: moved to somebody else, or made dead letters with the reason. Requesters hear.

All of it is done as the steward, with ids that follow from the messages: cut short and done again, it happens once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from clawbus.bus import Bus, Delivery, SignedCopy
from clawbus.bus.messages import Stored
from clawbus.errors import BacklogFull, OverBudget, WireError
from clawbus.ops.apply.backlog import Waiting, backlog
from clawbus.org import STEWARD, Org
from clawbus.org.tool_bounds import bound_of
from clawbus.steward.context import Context
from clawbus.tasks.chains import path_on_behalf
from clawbus.tasks.dead_letters import DeadLetters
from clawbus.tasks.ends import End
from clawbus.tasks.new_task import lifetime
from clawbus.wire.envelope import Envelope, Status, now

log = logging.getLogger(__name__)
_RULE = "left"


class Departures:
    """`moves`: the heir of each who has left; messages without an heir become dead letters."""

    def __init__(self, bus: Bus, org: Org, moves: Mapping[str, str]) -> None:
        self._bus = bus
        self._org = org
        self._moves = moves
        self._context = Context(org, bus)
        self._dead = DeadLetters(bus, self._context.subjects)

    async def settle(self) -> list[str]:
        """Deal with all that waits for nobody. Returns a line for each subject. Raises BusAway or Refused."""
        return [await self._settle(left) for left in await backlog(self._bus, self._org)]

    async def _settle(self, left: Waiting) -> str:
        moved = letters = 0
        last = 0
        for stored in await self._bus.stored_singly(left.stream, left.subject):
            last = stored.seq
            if left.channel == "ctl":  # words to a turn, and orders to a node: they end with who they were for
                continue
            was_moved = await (self._task if left.channel == "tasks" else self._mail)(left, stored)
            moved, letters = moved + was_moved, letters + (not was_moved)
        if last:
            await self._bus.api(f"STREAM.PURGE.{left.stream}", {"filter": left.subject, "seq": last + 1})
        heir = self._moves.get(left.name)
        parts = [f"{moved} moved to {heir}" * bool(moved), f"{letters} dead letters" * bool(letters)]
        line = f"{left.name} has left; {left.subject}: {', '.join(part for part in parts if part) or 'dropped'}"
        log.info("%s", line)
        return line

    # -- tasks --------------------------------------------------------------------------------------------------------

    async def _task(self, left: Waiting, stored: Stored) -> bool:
        """Returns True if it was moved, or had ended already."""
        try:
            task = await self._bus.verifier.envelope(self._context.subjects, stored)
            if task.type != "task" or not task.task_id:
                raise WireError("no task")
        except WireError as error:
            await self._letter(stored, error)
            return False
        end = await self._context.ends.read(task.task_id, task.sender, task.to)
        if end is not None:  # it was done: only its acknowledgement is missing, and maybe its result
            await self._tell(task, end)
            return True
        heir = self._moves.get(left.name)
        why = f"{left.name} has left the company"
        if heir is not None and (new := await self._given_to(heir, task, left.name)):
            text = f"{why}. {heir} has its task now, as task {new}: what comes of it will be brought here, too."
            await self._end(task, "cancelled", text, stored)
            return True
        if heir is not None:
            why += (
                f", and {heir} could not take it: its queue is full, the budget is used up, or it waits for it itself"
            )
        await self._end(task, "dead", f"{why}. A person can give it to somebody else with `clawbus dead`.", stored)
        return False

    async def _given_to(self, heir: str, old: Envelope, gone: str) -> str | None:
        """Give the task again, as the steward. Returns its new id, None if the heir cannot take it."""
        if self._org.takers(heir) <= {old.sender, *old.path}:
            return None
        created, given = now(), self._context.given(_RULE, old.task_id)
        new_id = given["task_id"]
        task = old.model_copy(
            update={
                "id": self._context.message_id(new_id),
                "sender": STEWARD,
                "to": heir,
                **given,
                "takers": self._org.members(heir) or None,
                "tools": bound_of(self._org, old),
                "path": path_on_behalf(old),
                "parent": old.task_id,
                "created_at": created,
                "expires_at": created + lifetime(self._org),
            }
        )
        try:
            await self._context.give(task, left=gone, **await self._asked_first(old))
        except (BacklogFull, OverBudget):
            return None
        return new_id

    async def _asked_first(self, old: Envelope) -> dict[str, Any]:
        """The first requester, into whose session the result goes."""
        accepted = await self._context.accepted(old.task_id or "", STEWARD) if old.sender == STEWARD else None
        if accepted is not None and "chain_of" in accepted.detail:
            return {name: accepted.detail[name] for name in ("chain_of", "requester")}
        asked = self._org.alerted[0] if old.sender == STEWARD else old.sender
        return {"chain_of": old.task_id, "requester": asked}

    async def _end(self, task: Envelope, status: Status, text: str, stored: Stored) -> None:
        result = Envelope(
            id=self._context.message_id(_RULE, task.task_id),
            type="result",
            sender=STEWARD,
            to=task.sender,
            task_id=task.task_id,
            trace_id=task.trace_id,
            status=status,
            subject=task.subject,
            body=text,
        )
        await self._dead.before(result, task, STEWARD, SignedCopy.of(stored).as_json())
        _, end = await self._context.ends.write(result, task.sender, task.to)
        await self._tell(task, end)

    async def _tell(self, task: Envelope, end: End) -> None:
        """Send the result to the requester, which takes it once, whoever else has sent it."""
        if task.sender in (end.by, STEWARD):
            return
        message_id = self._context.message_id(_RULE, task.task_id, "result")
        copy = end.envelope.model_copy(update={"sender": STEWARD, "to": task.sender, "id": message_id})
        await self._context.publish(self._context.subjects.dm(task.sender, STEWARD), copy)

    # -- mail ---------------------------------------------------------------------------------------------------------

    async def _mail(self, left: Waiting, stored: Stored) -> bool:
        heir, sender = self._moves.get(left.name), self._context.subjects.parse(stored.subject).sender
        why = f"{left.name} has left the company"
        try:
            mail = await self._bus.verifier.envelope(self._context.subjects, stored)
        except WireError as error:
            await self._letter(stored, error)
            return False
        if heir is None or heir == sender or (heir not in self._org.people and heir not in self._org.agents_by_id):
            await self._letter(stored, f"{why}; a {mail.type} from {sender} lay in its inbox")
            return False
        body = f"[From {sender}, for {left.name}, who has left the company.]\n{mail.body}"
        ids = {"id": self._context.message_id(_RULE, "mail", mail.id, stored.seq), "sender": STEWARD, "to": heir}
        await self._context.publish(
            self._context.subjects.dm(heir, STEWARD), mail.model_copy(update={**ids, "body": body})
        )
        return True

    async def _letter(self, stored: Stored, why: str | WireError) -> None:
        await self._dead.malformed(Delivery(stored.subject, stored.data, "", "", stored.seq, 1), STEWARD, why)
