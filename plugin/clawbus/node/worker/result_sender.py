"""The result of a task to the inbox of who asked for it: once, however often it has to be tried."""

from __future__ import annotations

from clawbus.bus import Bus
from clawbus.errors import BusAway
from clawbus.node.ledger import Run
from clawbus.org import Org
from clawbus.wire.envelope import Envelope
from clawbus.wire.subjects import Subjects, new_message_id


class ResultSender:
    """Of one gateway."""

    def __init__(self, bus: Bus, org: Org) -> None:
        self._bus = bus
        self._org = org
        self._subjects = Subjects(org.company)
        self._tried: set[str] = set()

    async def tell(self, run: Run, end: Envelope, again: bool) -> None:
        """Send the result, but not to a requester that ended the task itself. Raises BusAway.

        `again`: a process before this one may have sent it. An id that was used before the first try was used by
        somebody else, who had read it in the end: the server would drop the result. Of a group another member may have
        brought it.
        """
        if end.sender == run.task.sender:
            return
        by_worker = end.sender in self._org.may_take(run.task.to)  # the same id, whichever member of a group brings it
        message_id = end.id if by_worker else f"{run.worker}-{run.task_id}"
        copy = end.model_copy(update={"sender": run.worker, "to": run.task.sender, "id": message_id})
        first = not again and run.task_id not in self._tried and not self._org.members(run.task.to)
        try:
            if await self._known(copy) and first:
                await self._known(copy.model_copy(update={"id": new_message_id(run.worker)}))
        except BusAway:
            self._tried.add(run.task_id)
            raise
        self._tried.discard(run.task_id)

    async def _known(self, copy: Envelope) -> bool:
        """Publish it. Returns whether the server had a message of that id."""
        subject = self._subjects.dm(copy.to, copy.sender)
        return (await self._bus.publish(subject, copy.encode(), msg_id=copy.id)).duplicate
