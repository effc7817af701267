"""A message as it was signed, to be kept with what is made of it: whoever gets it later can verify it himself."""

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
    """Subject, id, header and bytes of a message. `at`: a moment at which the server had it already."""

    subject: str
    msg_id: str
    headers: dict[str, str]
    data: bytes
    at: datetime | None = None

    @classmethod
    def of(cls, message: Received) -> SignedCopy:
        header = {name: value for name, value in message.headers.items() if name == HEADER}
        return cls(message.subject, message.msg_id, header, message.data)

    @classmethod
    def of_message(cls, message: Message) -> SignedCopy:
        """What a core subscription has brought."""
        headers = dict(message.headers or {})
        return cls(message.subject, headers.get("Nats-Msg-Id", ""), headers, message.data)

    def as_json(self) -> dict[str, str]:
        """For a dead letter; empty where the message is too large to be kept in one."""
        if len(self.data) > _MAX_BYTES:
            return {}
        raw = base64.b64encode(self.data).decode()
        return {"subject": self.subject, "id": self.msg_id, "header": self.headers.get(HEADER, ""), "raw": raw}

    @classmethod
    def read(cls, said: Any, at: datetime | None) -> SignedCopy:
        """Raises WireError if it is not what `as_json` gives."""
        try:
            words = [said[name] for name in ("subject", "id", "header", "raw")]
            if all(isinstance(word, str) for word in words):
                return cls(words[0], words[1], {HEADER: words[2]}, base64.b64decode(words[3], validate=True), at)
        except (KeyError, TypeError, binascii.Error, ValueError):
            pass
        raise WireError("the message is not there as it was signed")
