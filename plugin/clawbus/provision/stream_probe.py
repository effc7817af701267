"""A trial of each stream: a message is written on a subject that nobody reads, and purged again."""

from __future__ import annotations

import asyncio

from clawbus.bus import Bus
from clawbus.errors import ClawbusError
from clawbus.org import Org
from clawbus.provision.permissions import PROVISIONER
from clawbus.provision.streams import stream_configs
from clawbus.wire.channels import GUEST
from clawbus.wire.subjects import Subjects, new_message_id

_WITHIN_S = 3.0


async def unwritable(bus: Bus, org: Org) -> dict[str, ClawbusError]:
    """The streams that take no write, and why. `bus`: with the provisioner's key."""
    names = [config["name"] for config in stream_configs(org)]
    tries = await asyncio.gather(*(_try(bus, Subjects(org.company), name) for name in names))
    return {name: error for name, error in zip(names, tries, strict=True) if error is not None}


async def _try(bus: Bus, subjects: Subjects, stream: str) -> ClawbusError | None:
    subject = subjects.probe(stream, PROVISIONER)
    try:
        if stream == GUEST:
            await _unacknowledged(bus, subject)
        else:
            await bus.publish(subject, b"", msg_id=new_message_id(PROVISIONER), timeout_s=_WITHIN_S)
        await bus.api(f"STREAM.PURGE.{stream}", {"filter": subject}, _WITHIN_S)
    except ClawbusError as error:
        return error
    return None


async def _unacknowledged(bus: Bus, subject: str) -> None:
    """The guests' stream says nothing of what it keeps: it is asked. Raises ClawbusError if it has not kept it."""
    await bus.tell(subject)
    await bus.flush()
    await bus.api(f"STREAM.MSG.GET.{GUEST}", {"last_by_subj": subject}, _WITHIN_S)
