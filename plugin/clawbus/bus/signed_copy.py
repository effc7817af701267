"""A message as it was signed, kept beside what is made of it, so that a later receiver can verify it too."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clawbus.bus.messages import Message
from clawbus.bus.signing import HEADER
from clawbus.bus.verifier import Received
from clawbus.errors import WireError

_MAX_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class SignedCopy:
    """The subject, id, header and bytes of a message. `at`: a moment at which the server had it already."""

    subject: str
    msg_id: str
    headers: dict[str, str]
    data: bytes
    at: datetime | None = None

    @classmethod
    def of(cls, message: Received) -> SignedCopy:
        """A copy of a message of a stream."""
        header = {name: value for name, value in message.headers.items() if name == HEADER}
        return cls(message.subject, message.msg_id, header, message.data)

    @classmethod
    def of_message(cls, message: Message) -> SignedCopy:
        """A copy of a message of a core subscription."""
        headers = dict(message.headers or {})
        return cls(message.subject, headers.get("Nats-Msg-Id", ""), headers, message.data)

    def as_json(self) -> dict[str, str]:
        """The form that a dead letter keeps; empty if the message is too large for one."""
        if len(self.data) > _MAX_BYTES:
            return {}
        raw = base64.b64encode(self.data).decode()
        return {"subject": self.subject, "id": self.msg_id, "header": self.headers.get(HEADER, ""), "raw": raw}

    @classmethod
    def read(cls, copy: Any, at: datetime | None) -> SignedCopy:
        """The copy in the form of `as_json`. Raises WireError for anything else."""
        try:
            parts = [copy[name] for name in ("subject", "id", "header", "raw")]
            if all(isinstance(part, str) for part in parts):
                return cls(parts[0], parts[1], {HEADER: parts[2]}, base64.b64decode(parts[3], validate=True), at)
        except (KeyError, TypeError, binascii.Error, ValueError):
            pass
        raise WireError("the message is not there as it was signed")
