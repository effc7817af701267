"""The content of artifacts on the bus: `<company>.art.<sha256>.<part>.<from>`, in parts of 512 KiB.

The hash of the whole is the address. So a part that is there already is not sent again, and a reader can check that it
has got the right content. The stream ART says how long it is kept.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib

from clawbus.bus import Bus
from clawbus.errors import BusAway, EndConflict, NotFound, Refused
from clawbus.retry import retry
from clawbus.wire.channels import ART
from clawbus.wire.envelope import Artifact
from clawbus.wire.subjects import Subjects, new_message_id

PART_BYTES = 512 * 1024
MAX_FILE_BYTES = 16 * 1024 * 1024
_TRIES = 3
_AGAIN_S = 0.5


class Store:
    """Puts and gets artifacts over one connection."""

    def __init__(self, bus: Bus, subjects: Subjects) -> None:
        self._bus = bus
        self._subjects = subjects

    async def put(self, sender: str, name: str, data: bytes) -> Artifact:
        """Put a file on the bus. Returns its reference.

        Raises BusAway or Refused (no room, not allowed). Some parts may be there then; another try completes it.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        for part in range(_parts(len(data))):
            subject = self._subjects.build("art", sender, sha256=sha256, part=str(part))
            with contextlib.suppress(EndConflict):  # the part is there already
                await self._publish(subject, data[part * PART_BYTES : (part + 1) * PART_BYTES], sender)
        return Artifact(name=name, sha256=sha256, size_bytes=len(data), sender=sender)

    async def _publish(self, subject: str, data: bytes, sender: str) -> None:
        message_id = new_message_id(sender)
        publish = functools.partial(self._bus.publish, subject, data, msg_id=message_id, last_seq=(subject, 0))
        await retry(publish, BusAway, _AGAIN_S, tries=_TRIES)

    async def get(self, artifact: Artifact) -> bytes:
        """The content of an artifact. Raises BusAway, NotFound (a part is missing) or Refused (its hash differs)."""
        name, size, sha256, sender = artifact.name, artifact.size_bytes, artifact.sha256, artifact.sender
        if sha256 is None or size is None or sender is None:
            raise Refused(f"artifact {name!r} is a reference to {artifact.uri!r}: it is not on the bus")
        if size > MAX_FILE_BYTES:
            raise Refused(f"artifact {name!r} says it has {size} bytes; {MAX_FILE_BYTES} is the limit")
        found, count = bytearray(), _parts(size)
        for part in range(count):
            subject = self._subjects.build("art", sender, sha256=sha256, part=str(part))
            stored = await self._bus.next_message(ART, subject)
            if stored is None:
                raise NotFound(
                    f"artifact {name!r} of {sender} is not on the bus: part {part + 1} of {count} is missing"
                )
            found += stored.data
        if len(found) != size or hashlib.sha256(found).hexdigest() != sha256:
            raise Refused(f"artifact {name!r} of {sender} is not what was attached: its hash differs")
        return bytes(found)


def _parts(size: int) -> int:
    """The number of parts of a file. An empty file has one, so that a missing file can be told from it."""
    return max(1, -(-size // PART_BYTES))
