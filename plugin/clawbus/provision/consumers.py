"""The durable consumers of a company: the owner and the filters of each.

Filters are added before an agent is announced: messages stored before their filter exists would be stranded in a work
queue.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from clawbus.bus import STEWARD_READER, gateway_reader, group_durable, person_reader, task_durable
from clawbus.org import EXTERNAL, STEWARD, Org
from clawbus.tasks.guests import guest_subjects
from clawbus.wire.channels import (
    BCAST,
    CTL,
    DEAD,
    ENDS,
    EVENTS,
    GUEST,
    INBOX,
    LEARN,
    STREAMS,
    TASKS,
    TIMERS,
)
from clawbus.wire.subjects import PRIORITIES, Subjects

_NS = 1_000_000_000
_QUEUES = frozenset(stream.name for stream in STREAMS if stream.retention == "workqueue")
READ_STREAMS = tuple(stream.name for stream in STREAMS if stream.durables)
"""Those that have durables."""
Named = tuple[str, dict[str, Any]]


def consumer_configs(org: Org) -> list[Named]:
    """(stream, configuration) of each durable."""
    found = [one for gateway in org.gateways for one in _of_gateway(org, gateway.id)]
    found += [one for group in org.groups for one in _of_group(org, group)]
    found += steward_durables(org)
    subjects = Subjects(org.company)
    return found + [
        (INBOX, _config(org, person_reader(one.id), [subjects.dm_for(one.id)], 10_000)) for one in org.humans
    ]


def broadcast_filters(org: Org, gateway: str) -> list[str]:
    """The broadcasts that a gateway hears: everyone's, its agents' teams, the topics that they subscribe to."""
    subjects = Subjects(org.company)
    agents = org.agents_of(gateway)
    topics = dict.fromkeys(one.topic for agent in agents for one in agent.subscriptions)
    kinds = {topic.split(".")[0] for topic in topics if topic.endswith(".*")}  # it covers the single ones of its kind
    found = [subjects.everything("all")]
    found += [subjects.filter("team", team=team) for team in dict.fromkeys(agent.team for agent in agents)]
    for topic in topics:
        kind, name = topic.split(".")
        if name == "*" or kind not in kinds:
            found.append(subjects.filter("topics", kind=kind, name=name))
    return found


def _of_gateway(org: Org, gateway: str) -> Iterator[Named]:
    subjects, reader = Subjects(org.company), gateway_reader(gateway)
    agents = [agent.id for agent in org.agents_of(gateway)]
    if not agents:
        return
    # Unlimited: however much mail lies unread, a result behind it is handed out.
    yield INBOX, _config(org, reader, [subjects.dm_for(a) for a in agents], -1)
    yield CTL, _config(org, reader, [subjects.ctl_for(a) for a in agents], 1_000)
    # From now on: each older broadcast would be a turn, for nothing.
    yield BCAST, _config(org, reader, broadcast_filters(org, gateway), 1_000) | {"deliver_policy": "new"}
    for priority in PRIORITIES:
        filters = [subjects.tasks_for(a, priority) for a in agents]
        yield TASKS, _config(org, task_durable(gateway, priority), filters, 1_000)


def _of_group(org: Org, group: str) -> Iterator[Named]:
    subjects = Subjects(org.company)
    for priority in PRIORITIES if org.members(group) else ():
        yield TASKS, _config(org, group_durable(group, priority), [subjects.tasks_for(group, priority)], 1_000)


def steward_durables(org: Org) -> list[Named]:
    """One durable per stream, which all stewards share: each message is one steward's, and another's if it dies."""
    subjects = Subjects(org.company)
    read = {
        EVENTS: [subjects.everything("events")],
        ENDS: [subjects.everything("end")],
        BCAST: [subjects.everything(name) for name in ("all", "team", "topics")],
        LEARN: [subjects.everything("learning")],
        DEAD: [subjects.everything("dead")],
        TIMERS: [subjects.filter("timers", phase="due", rule="*", key="*")],
        INBOX: [subjects.dm_for(STEWARD), subjects.dm_for(EXTERNAL)],
        CTL: [subjects.ctl_for(STEWARD)],
        GUEST: list(guest_subjects(org)),
    }
    return [(stream, _config(org, STEWARD_READER, filters, 1_000)) for stream, filters in read.items() if filters]


def _config(org: Org, name: str, filters: list[str], pending: int) -> dict[str, Any]:
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


def must_be_remade(stream: str, have: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """True if a durable cannot be changed in place.

    In a work queue one whose filters change never sees what was stored before. On a stream that keeps everything it is
    changed in place: a new subscriber hears from then on.
    """
    return stream in _QUEUES and _filters(have) != _filters(wanted)


def _filters(config: dict[str, Any]) -> set[str]:
    single = config.get("filter_subject")
    return set(config.get("filter_subjects") or ([single] if single else []))


def as_kept(config: dict[str, Any], have: dict[str, Any] | None = None) -> dict[str, Any]:
    """A configuration as the server keeps it: a single filter under its older name.

    Where a consumer began to read is decided when it is made, and cannot be changed.
    """
    wanted = config | ({"deliver_policy": have["deliver_policy"]} if have else {})
    if len(wanted["filter_subjects"]) == 1:
        wanted["filter_subject"] = wanted.pop("filter_subjects")[0]
    return wanted
