"""Dead letters: what could not be dealt with, put down with the reason before it leaves its queue.

The server moves nothing by itself, and its advisory of the last delivery never comes here (`max_deliver` is unlimited):
whoever gives a message up writes the letter, then the end, then lets the message go. After a crash in between it is
written once more, on the same subject, where there is room for one.
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
    """Writes dead letters as agents of this gateway, whose addresses they came to."""

    def __init__(self, bus: Bus, subjects: Subjects) -> None:
        self._bus = bus
        self._subjects = subjects

    async def before(self, end: Envelope, task: Envelope, worker: str, signed: dict[str, str]) -> None:
        """The letter of a task that `worker` gives up; nothing for any other end. Raises BusAway: then say it again.

        `signed`: the task as it came (`Kept.as_json`): it is given again only if that is still its sender's.
        """
        if end.status != "dead":
            return
        if without_keys(base64.b64decode(signed.get("raw", "")))[1]:
            signed = {}  # it would lie there in base64; without its sender's very bytes it is not given again
        subject = self._subjects.task(task.to, task.priority, task.sender)
        said: dict[str, Any] = {"reason": end.body, "subject": subject, "signed": signed}
        said["envelope"] = task.model_dump(mode="json", by_alias=True)
        await self._put(task.task_id or "", worker, said)

    async def malformed(self, delivery: Delivery, agent: str, why: str | WireError) -> None:
        """Bytes that are no message for `agent`. The letter's id follows from where they lay. Raises BusAway.

        Of what was not its sender's the letter says so (`refused`): the steward raises the alarm.
        """
        lay = f"{delivery.subject}\n{delivery.stream_seq}".encode()
        letter_id = task_id_of(hashlib.sha256(lay).digest())
        kept, _ = without_keys(delivery.data[:_MAX_RAW_BYTES])  # before nothing of a key can be seen any more
        raw = base64.b64encode(kept).decode()
        said: dict[str, Any] = {"reason": str(why)[:_SHOWN], "subject": delivery.subject, "raw": raw}
        if isinstance(why, Unverified):
            said["refused"] = why.kind
        if len(delivery.data) > _MAX_RAW_BYTES:
            said["bytes"] = len(delivery.data)
        await self._put(letter_id, agent, said)

    async def leaked_keys(self, by: str, subject: str, what: str, reason: str) -> None:
        """A letter about a secret key that somebody has said on `subject`; one for each `what`. Raises BusAway."""
        letter_id = task_id_of(hashlib.sha256(what.encode()).digest())
        await self._put(letter_id, by, {"reason": reason, "subject": subject, "raw": ""})

    async def refuse(self, delivery: Delivery, agent: str, error: WireError) -> None:
        """Put down what is no message for `agent`, and never let it come again. Raises BusAway."""
        log.warning("%s, message %d, refused: %s", delivery.subject, delivery.stream_seq, error)
        await self.malformed(delivery, agent, error)
        await self._bus.term(delivery.ack_subject, str(error)[:200])

    async def _put(self, letter_id: str, agent: str, said: dict[str, Any]) -> None:
        """What cannot be kept holds up nothing: else a full stream would hold what waits for its letter for ever."""
        subject = self._subjects.build("dead", agent, task=letter_id)
        data = json.dumps({"v": 1, **said, "at": now().isoformat()}, ensure_ascii=False).encode()
        try:
            await self._bus.publish(subject, data, msg_id=new_message_id(agent), last_seq=(subject, 0))
        except EndConflict:  # put down before the crash
            return
        except Refused as error:
            log.error("dead letter %s was not kept (%s): %s", letter_id, error.message, str(said["reason"])[:_SHOWN])
            return
        log.warning("dead letter %s: %s", letter_id, str(said["reason"])[:_SHOWN])
