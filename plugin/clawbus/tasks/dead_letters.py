"""Dead letters: a message that a node gives up is written to DEAD with the reason, before it leaves its queue.

The server moves nothing by itself, and its advisory of the last delivery never comes, since `max_deliver` is unlimited.
So the node writes the letter, then the end, then acknowledges the message. After a crash in between it writes the
letter again, on the same subject, which keeps one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from typing import Any

from clawbus.bus import Bus, Delivery
from clawbus.errors import EndConflict, Refused, Unverified, WireError
from clawbus.wire.envelope import Envelope, now
from clawbus.wire.redaction import without_keys
from clawbus.wire.subjects import Subjects, new_message_id, task_id_of

log = logging.getLogger(__name__)
_MAX_RAW_BYTES = 512 * 1024
_SHOWN = 500


class DeadLetters:
    """Writes dead letters under the names of this gateway's agents, to whom the messages came."""

    def __init__(self, bus: Bus, subjects: Subjects) -> None:
        self._bus = bus
        self._subjects = subjects

    async def before(self, end: Envelope, task: Envelope, worker: str, signed: dict[str, str]) -> None:
        """Write the letter of a task that `worker` gives up, before its end. Raises BusAway; then call it again.

        Does nothing unless the end is `dead`. `signed`: the task as it came (`SignedCopy.as_json`). A redrive needs it,
        to check that the task is its sender's.
        """
        if end.status != "dead":
            return
        if without_keys(base64.b64decode(signed.get("raw", "")))[1]:
            signed = {}  # the key would lie there in base64. Without its sender's bytes the task is not given again.
        subject = self._subjects.task(task.to, task.priority, task.sender)
        letter: dict[str, Any] = {"reason": end.body, "subject": subject, "signed": signed}
        letter["envelope"] = task.model_dump(mode="json", by_alias=True)
        await self._put(task.task_id or "", worker, letter)

    async def malformed(self, delivery: Delivery, agent: str, why: str | WireError) -> None:
        """Write the letter of bytes that are no message for `agent`. Raises BusAway.

        The letter's id follows from their place in the stream. `refused` in the letter says that they were not their
        sender's; then the steward raises an alert.
        """
        lay = f"{delivery.subject}\n{delivery.stream_seq}".encode()
        letter_id = task_id_of(hashlib.sha256(lay).digest())
        kept, _ = without_keys(delivery.data[:_MAX_RAW_BYTES])  # before base64, which would hide a key
        raw = base64.b64encode(kept).decode()
        letter: dict[str, Any] = {"reason": str(why)[:_SHOWN], "subject": delivery.subject, "raw": raw}
        if isinstance(why, Unverified):
            letter["refused"] = why.kind
        if len(delivery.data) > _MAX_RAW_BYTES:
            letter["bytes"] = len(delivery.data)
        await self._put(letter_id, agent, letter)

    async def leaked_keys(self, by: str, subject: str, what: str, reason: str) -> None:
        """Write a letter about a secret key that was published on `subject`; one for each `what`. Raises BusAway."""
        letter_id = task_id_of(hashlib.sha256(what.encode()).digest())
        await self._put(letter_id, by, {"reason": reason, "subject": subject, "raw": ""})

    async def refuse(self, delivery: Delivery, agent: str, error: WireError) -> None:
        """Write the letter of what is no message for `agent`, and end its redelivery. Raises BusAway."""
        log.warning("%s, message %d, refused: %s", delivery.subject, delivery.stream_seq, error)
        await self.malformed(delivery, agent, error)
        await self._bus.term(delivery.ack_subject, str(error)[:200])

    async def _put(self, letter_id: str, agent: str, letter: dict[str, Any]) -> None:
        subject = self._subjects.build("dead", agent, task=letter_id)
        data = json.dumps({"v": 1, **letter, "at": now().isoformat()}, ensure_ascii=False).encode()
        reason = str(letter["reason"])[:_SHOWN]
        try:
            await self._bus.publish(subject, data, msg_id=new_message_id(agent), last_seq=(subject, 0))
        except EndConflict:  # it was written before a crash
            return
        except Refused as error:  # go on: else a full stream would hold for ever what waits for its letter
            log.error("dead letter %s was not kept (%s): %s", letter_id, error.message, reason)
            return
        log.warning("dead letter %s: %s", letter_id, reason)
