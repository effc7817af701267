"""The desired state of the bus and its keys, the steps that lead there from what is, and the taking of these steps.

`clawbus plan` shows the steps, `clawbus apply` takes the very same ones. Each step can be repeated and can be cut short
(docs/adr/0017-change.md): what is half done differs still, and is a step again.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from clawbus.bus import Bus
from clawbus.bus.messages import MISSING
from clawbus.errors import Refused
from clawbus.org import Org
from clawbus.provision import key_directory, remote_keys
from clawbus.provision.consumers import READ_STREAMS, as_kept, consumer_configs, must_be_remade
from clawbus.provision.permissions import Grant, Rights, grants, rights
from clawbus.provision.streams import refuse_another_companys, stream_configs
from clawbus.settings import Home

log = logging.getLogger(__name__)
Config = dict[str, Any]
Action = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is not as org.toml says, and the action that makes it so."""

    area: str
    """key, account, bus or directory."""
    name: str
    what: str
    """new, changed or removed."""
    detail: str = ""
    done: str = ""
    """A line for the person who applies it."""
    revokes: tuple[str, str] | None = None
    """The account and the public key whose credentials count no more."""
    before: Action | None = field(default=None, compare=False, repr=False)
    """Done ahead of the `do` of all steps of a list."""
    do: Action | None = field(default=None, compare=False, repr=False)
    after: Callable[[], None] | None = field(default=None, compare=False, repr=False)
    """Done when everything else of the change is done."""


async def take(steps: Iterable[Step], say: Callable[[str], None] = lambda _: None) -> None:
    """Take the steps of one list, but for their `after`. `say` is given a line for some. Raises what a step raises."""
    steps = [*steps]
    for step in steps:
        if step.before is not None:
            await step.before()
    for step in steps:
        if step.do is not None:
            await step.do()
        log.info("%s %s: %s", step.area, step.name, step.what)
        if step.done and step.after is None:
            say(step.done)


def finish(steps: Iterable[Step], say: Callable[[str], None]) -> None:
    """Take what comes last of each step."""
    for step in steps:
        if step.after is not None:
            step.after()
            say(step.done)


@dataclass(frozen=True, slots=True)
class Desired:
    """The keys, streams and durables that an org.toml asks for, computed once.

    The accounts' JWTs and the members' public keys depend on key files, too: `Authority` and `key_directory` have them.
    """

    org: Org
    grants: Mapping[str, Grant]
    rights: Mapping[str, Rights]
    """By role."""
    remote: frozenset[str]
    """The keys that live on other machines."""
    streams: Mapping[str, Config]
    durables: Mapping[tuple[str, str], Config]
    """By stream and durable."""

    @classmethod
    def of(cls, org: Org) -> Desired:
        granted = grants(org)
        return cls(
            org,
            granted,
            {role: rights(org, role) for role in {grant.role for grant in granted.values()}},
            remote_keys.names(org),
            {config["name"]: config for config in stream_configs(org)},
            {(stream, config["durable_name"]): config for stream, config in consumer_configs(org)},
        )


# -- streams and durables ---------------------------------------------------------------------------------------------


async def provision(bus: Bus, org: Org) -> None:
    """Bring the streams, then the durables, to what the org says.

    Changes only what differs, disturbs no running reader, and never deletes a stream. Raises BusAway, or Refused if a
    stream belongs to another company.
    """
    desired = Desired.of(org)
    await take(await stream_steps(bus, desired))
    await take(await durable_steps(bus, desired))


async def stream_steps(bus: Bus, desired: Desired) -> list[Step]:
    """The streams that are missing or differ. Raises BusAway, or Refused for a stream of another company."""
    found = []
    for name, config in desired.streams.items():
        have = await info(bus, f"STREAM.INFO.{name}")
        if have is None:
            create = functools.partial(_call, bus, f"STREAM.CREATE.{name}", config)
            found.append(Step("bus", name, "new", do=create))
            continue
        refuse_another_companys(name, have["config"], desired.org)
        if differs(have["config"], config):
            update = functools.partial(_call, bus, f"STREAM.UPDATE.{name}", have["config"] | config)
            found.append(Step("bus", name, "changed", do=update))
    return found


async def durable_steps(bus: Bus, desired: Desired) -> list[Step]:
    """The durables that are missing, differ, or are nobody's any more. Raises BusAway or Refused.

    In a work queue no two consumers may have a filter in common, not even for a moment: so those that go, and those
    that are made anew, are deleted before any is made.
    """
    present = {(stream, name): config for stream in READ_STREAMS for name, config in await _consumers(bus, stream)}
    found = []
    for (stream, name), config in desired.durables.items():
        have = present.get((stream, name))
        wanted = as_kept(config, have)
        if have is not None and not differs(have, wanted):
            continue
        remade = have is not None and must_be_remade(stream, have, config)
        request = {"stream_name": stream, "config": as_kept(config) if remade else wanted}
        create = functools.partial(_call, bus, f"CONSUMER.DURABLE.CREATE.{stream}.{name}", request)
        before = functools.partial(_call, bus, f"CONSUMER.DELETE.{stream}.{name}") if remade else None
        found.append(Step("bus", f"{stream}/{name}", "new" if have is None else "changed", before=before, do=create))
    gone = [place for place in present if place not in desired.durables]
    for stream, name in gone:
        delete = functools.partial(_call, bus, f"CONSUMER.DELETE.{stream}.{name}")
        found.append(Step("bus", f"{stream}/{name}", "removed", before=delete))
    return found


async def _call(bus: Bus, method: str, request: Config | None = None) -> None:
    await bus.api(method, request)


async def _consumers(bus: Bus, stream: str) -> list[tuple[str, Config]]:
    """The name and configuration of each consumer of a stream; none if there is no such stream."""
    found: list[Config] = []
    if await info(bus, f"STREAM.INFO.{stream}") is None:
        return []
    while True:
        page = await bus.api(f"CONSUMER.LIST.{stream}", {"offset": len(found)})
        found += page["consumers"] or []
        if not page["consumers"] or len(found) >= page["total"]:
            return [(consumer["name"], consumer["config"]) for consumer in found]


async def info(bus: Bus, method: str) -> Config | None:
    """The answer of an INFO call, None if there is no such thing. Raises BusAway or Refused."""
    try:
        return await bus.api(method)
    except Refused as refusal:
        if refusal.code in MISSING:
            return None
        raise


def differs(have: Config, wanted: Config) -> bool:
    """True if the server's configuration lacks something that is wanted; zero and absent are the same there."""
    return any((have.get(key) or None) != (value or None) for key, value in wanted.items())


# -- the directory of public keys -------------------------------------------------------------------------------------


async def publish_keys(bus: Bus, org: Org, home: Home) -> None:
    """Bring KEYS to what the members' keys are. Changes only what differs. Raises BusAway or Refused."""
    await take(await directory_steps(bus, org, home))


async def directory_steps(bus: Bus, org: Org, home: Home) -> list[Step]:
    """The members whose public key is not the published one. Raises BusAway, Refused or InvalidInput."""
    seeds, have = key_directory.seed_files(home, org), await key_directory.published(bus, org)
    return [*_directory_steps(bus, org, home, seeds, have)]


def _directory_steps(
    bus: Bus, org: Org, home: Home, seeds: Mapping[str, Any], have: Mapping[str, Config]
) -> Iterator[Step]:
    for member in sorted({*seeds, *have}):
        seed, before = seeds.get(member), have.get(member, {})
        key = None if seed is None else key_directory.public_key_of(home, org, member, seed, make=False)
        if key is None and member not in have:  # its machine has not joined yet
            continue
        if member in have and before.get("key") == key:
            continue
        what = "removed" if key is None else "changed" if before.get("key") else "new"
        owned = seed if key is not None else None
        publish = functools.partial(key_directory.publish_key, bus, org, home, member, owned, before)
        yield Step("directory", member, what, do=publish)
