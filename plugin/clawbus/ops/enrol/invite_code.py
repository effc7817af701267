"""The invite code: the line that `clawbus invite` prints and `clawbus join` takes."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from clawbus.errors import InvalidInput

PREFIX = "clawbus1:"
_MOST = 8192
_CHECK_BYTES = 4
_LAST_PORT = 65535
_TEXT = re.compile(r"[A-Za-z0-9_-]+")


class Code(BaseModel):
    """The address to connect to, the authority to trust there, and the secret that is good for one enrolment.

    `pin`: SHA-256 of the authority's certificate, in hex. `secret`: 128 random bits. `expires`: Unix time, in seconds,
    by the clock of the inviting machine. The aliases are the names in the line, which is to be short.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    url: Annotated[str, Field(alias="u", pattern=r"^[a-z0-9.-]{1,253}:[0-9]{1,5}$")]
    pin: Annotated[str, Field(alias="p", pattern=r"^[0-9a-f]{64}$")]
    secret: Annotated[str, Field(alias="s", pattern=r"^[A-Za-z0-9_-]{22}$", repr=False)]
    expires: Annotated[int, Field(alias="x", ge=0, le=4_102_444_800)]
    gateways: Annotated[tuple[str, ...], Field(alias="g", min_length=1)]
    company: Annotated[str, Field(alias="c")]

    @property
    def host(self) -> str:
        return self.url.rpartition(":")[0]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def until(self) -> str:
        """The time at which it expires, for a person."""
        return f"{datetime.fromtimestamp(self.expires, UTC):%Y-%m-%d %H:%M:%SZ}"

    def line(self) -> str:
        """The line. Its last bytes are a checksum, so that a copying mistake does not count as a wrong try."""
        data = self.model_dump_json(by_alias=True).encode()
        return PREFIX + base64.urlsafe_b64encode(data + _checksum(data)).decode().rstrip("=")


def parse(line: str) -> Code:
    """Read the code of a line. Raises InvalidInput if the line is no code, or was not copied whole."""
    text = line.strip()
    try:
        code = _decoded(text)
    except ValueError:
        code = None
    if code is None or code.line() != text:  # base64 ignores some bits at its end, so two lines could mean one code
        problem = f"not a code of `clawbus invite`: that is one line, which begins with {PREFIX}"
        raise InvalidInput("CODE", "…", problem, "Copy the line whole, in quotes.")
    return code


def _decoded(text: str) -> Code:
    """Decode a line. Raises ValueError, as base64 and pydantic do."""
    body = text.removeprefix(PREFIX)
    if len(text) > _MOST or body == text or not _TEXT.fullmatch(body):
        raise ValueError("no code")
    data = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    data, check = data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]
    if check != _checksum(data):
        raise ValueError("not whole")
    code = Code.model_validate_json(data)
    if not 0 < code.port <= _LAST_PORT:
        raise ValueError("no port")
    return code


def _checksum(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:_CHECK_BYTES]
