"""What provisioning would change on the server, without changing it."""

from __future__ import annotations

from clawbus.bus import Bus
from clawbus.org import Org
from clawbus.provision.consumers import READ_STREAMS, as_kept, consumer_configs, consumers_of
from clawbus.provision.diff import differs, info
from clawbus.provision.streams import stream_configs


async def bus_changes(bus: Bus, org: Org) -> list[tuple[str, str]]:
    """(stream or stream/consumer, "new" | "changed" | "removed") of each. Raises BusAway or Refused."""
    found = []
    for config in stream_configs(org):
        have = await info(bus, f"STREAM.INFO.{config['name']}")
        if have is None or differs(have["config"], config):
            found.append((config["name"], "new" if have is None else "changed"))
    wanted = {(stream, config["durable_name"]): config for stream, config in consumer_configs(org)}
    present = {(stream, name): config for stream in READ_STREAMS for name, config in await consumers_of(bus, stream)}
    for at, config in wanted.items():
        if at not in present or differs(present[at], as_kept(config, present[at])):
            found.append(("/".join(at), "changed" if at in present else "new"))
    return found + [("/".join(at), "removed") for at in present if at not in wanted]
