"""The streams and durable consumers of a company, made and brought up to date by the provisioner.

Running it again changes only what differs, disturbs no running reader, and never deletes a stream. Filters are
added before an agent is announced: messages stored before their filter exists would be stranded in a work queue.
"""

from __future__ import annotations

import logging
from typing import Any

from clawbus.bus import CTL, ENDS, EVENTS, INBOX, TASKS, Bus, gateway_reader, person_reader, task_durable
from clawbus.errors import Refused
from clawbus.org import Org
from clawbus.subjects import PRIORITIES, Subjects

log = logging.getLogger(__name__)

_NS = 1_000_000_000
_DAY_S = 86_400
_MIB = 1024 * 1024
DEDUP_WINDOW_S = 600
TASK_AGE_S = 3 * _DAY_S
MAX_MESSAGE_BYTES = 1 * _MIB


def stream_configs(org: Org) -> list[dict[str, Any]]:
    """The configuration of each stream, as `$JS.API.STREAM.CREATE` takes it."""
    subjects = Subjects(org.company)

    def stream(name: str, channel: str, retention: str, age_s: int, size_mib: int, **more: Any) -> dict[str, Any]:
        return {
            "name": name,
            "subjects": [subjects.everything(channel)],
            "retention": retention,
            "storage": "file",
            "discard": "new",
            "max_age": age_s * _NS,
            "max_bytes": size_mib * _MIB,
            "max_msg_size": MAX_MESSAGE_BYTES,
            "duplicate_window": DEDUP_WINDOW_S * _NS,
            "num_replicas": 1,
            "deny_delete": True,
            "deny_purge": False,
            "max_consumers": -1,
            "allow_direct": True,
            **more,
        }

    quota = {"max_msgs_per_subject": org.policies.quota, "discard_new_per_subject": True}
    return [
        stream(TASKS, "tasks", "workqueue", TASK_AGE_S, 512, **quota),
        stream(INBOX, "dm", "workqueue", 30 * _DAY_S, 512),
        stream(CTL, "ctl", "workqueue", TASK_AGE_S, 64),
        stream(ENDS, "end", "limits", 30 * _DAY_S, 1024),
        stream(EVENTS, "events", "limits", 14 * _DAY_S, 256) | {"discard": "old"},
    ]


def consumer_configs(org: Org) -> list[tuple[str, dict[str, Any]]]:
    """(stream, configuration) of each durable: per gateway one on INBOX and CTL, one per priority on TASKS."""
    subjects = Subjects(org.company)

    def consumer(name: str, filters: list[str], pending: int) -> dict[str, Any]:
        return {
            "durable_name": name,
            "filter_subjects": filters,
            "ack_policy": "explicit",
            "deliver_policy": "all",
            "replay_policy": "instant",
            "ack_wait": org.policies.lease_s * _NS,
            "max_deliver": -1,
            "max_ack_pending": pending,
            "max_waiting": 64,
            "num_replicas": 0,
        }

    found: list[tuple[str, dict[str, Any]]] = []
    for gateway in org.gateways:
        agents = [agent.id for agent in org.agents_of(gateway.id)]
        if not agents:
            continue
        reader = gateway_reader(gateway.id)
        found.append((INBOX, consumer(reader, [subjects.dm_for(a) for a in agents], 10_000)))
        found.append((CTL, consumer(reader, [subjects.ctl_for(a) for a in agents], 1_000)))
        for priority in PRIORITIES:
            filters = [subjects.tasks_for(a, priority) for a in agents]
            found.append((TASKS, consumer(task_durable(gateway.id, priority), filters, 1_000)))
    people = [human.id for human in org.humans]
    return found + [(INBOX, consumer(person_reader(one), [subjects.dm_for(one)], 10_000)) for one in people]


async def provision(bus: Bus, org: Org) -> None:
    """Bring the server to what the org says. Each change is logged.

    Raises Refused if a stream of that name belongs to another company: companies on one server need an account each.
    """
    for config in stream_configs(org):
        await _stream(bus, config)
    wanted = {(stream, config["durable_name"]): config for stream, config in consumer_configs(org)}
    # First what has to go: in a work queue no two consumers may have a filter in common, not even for a moment. A
    # consumer whose filters change is made anew, since one that is changed never sees what was stored before.
    for stream in (TASKS, INBOX, CTL):
        for name, have in await _consumers(bus, stream):
            asked = wanted.get((stream, name))
            if asked is None or _filters(have) != _filters(asked):
                await bus.api(f"CONSUMER.DELETE.{stream}.{name}")
                log.info("consumer %s/%s removed", stream, name)
    for (stream, _), one in wanted.items():
        await _consumer(bus, stream, one)


async def _consumers(bus: Bus, stream: str) -> list[tuple[str, dict[str, Any]]]:
    found: list[dict[str, Any]] = []
    while True:
        page = await bus.api(f"CONSUMER.LIST.{stream}", {"offset": len(found)})
        found += page["consumers"] or []
        if not page["consumers"] or len(found) >= page["total"]:
            return [(one["name"], one["config"]) for one in found]


def _filters(config: dict[str, Any]) -> set[str]:
    one = config.get("filter_subject")
    return set(config.get("filter_subjects") or ([one] if one else []))


async def _stream(bus: Bus, config: dict[str, Any]) -> None:
    name = config["name"]
    have = await _info(bus, f"STREAM.INFO.{name}")
    if have is None:
        await bus.api(f"STREAM.CREATE.{name}", config)
        log.info("stream %s made", name)
        return
    if have["config"]["subjects"] != config["subjects"]:
        raise Refused(
            f"the stream {name} on this server holds {have['config']['subjects']}, not {config['subjects']}",
            "Another company lives in this account: give each company an account of its own.",
        )
    if _differs(have["config"], config):
        await bus.api(f"STREAM.UPDATE.{name}", have["config"] | config)
        log.info("stream %s updated", name)


async def _consumer(bus: Bus, stream: str, config: dict[str, Any]) -> None:
    name = config["durable_name"]
    have = await _info(bus, f"CONSUMER.INFO.{stream}.{name}")
    wanted = dict(config)
    if len(wanted["filter_subjects"]) == 1:  # the server keeps a single filter under its older name
        wanted["filter_subject"] = wanted.pop("filter_subjects")[0]
    if have is not None and not _differs(have["config"], wanted):
        return
    await bus.api(f"CONSUMER.DURABLE.CREATE.{stream}.{name}", {"stream_name": stream, "config": wanted})
    log.info("consumer %s/%s %s", stream, name, "made" if have is None else "updated")


async def _info(bus: Bus, method: str) -> dict[str, Any] | None:
    try:
        return await bus.api(method)
    except Refused as refusal:
        if "not found" in refusal.message:
            return None
        raise


def _differs(have: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether the server's configuration lacks something that is wanted; zero and absent are the same there."""
    return any((have.get(key) or None) != (value or None) for key, value in wanted.items())
