"""The size of each stream, in MiB: the table `[streams]` of an org.toml, with the defaults of `channels`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from clawbus.org.members import Part, Whole
from clawbus.wire.channels import STREAMS

LARGEST_MIB = 1024 * 1024
_DEFAULT = {stream.name: stream.size_mib for stream in STREAMS}
Size = Annotated[Whole, Field(ge=16, le=LARGEST_MIB)]


class Sizes(Part):
    """One field for each stream. A stream takes room on disk as it fills, never more than this."""

    tasks: Size = _DEFAULT["TASKS"]
    inbox: Size = _DEFAULT["INBOX"]
    ctl: Size = _DEFAULT["CTL"]
    ends: Size = _DEFAULT["ENDS"]
    events: Size = _DEFAULT["EVENTS"]
    bcast: Size = _DEFAULT["BCAST"]
    learn: Size = _DEFAULT["LEARN"]
    art: Size = _DEFAULT["ART"]
    dead: Size = _DEFAULT["DEAD"]
    alerts: Size = _DEFAULT["ALERTS"]
    timers: Size = _DEFAULT["TIMERS"]
    keys: Size = _DEFAULT["KEYS"]
    state: Size = _DEFAULT["STATE"]
    spend: Size = _DEFAULT["SPEND"]
    guest: Size = _DEFAULT["GUEST"]

    def mib(self, stream: str) -> int:
        """Of one stream, by its name."""
        return int(getattr(self, stream.lower()))

    @property
    def all_bytes(self) -> int:
        """The sum of all sizes."""
        return sum(self.mib(stream.name) for stream in STREAMS) * 1024 * 1024
