"""The streams of a company, as its org.toml wants them. `plan` compares them with the server's."""

from __future__ import annotations

from typing import Any

from clawbus.errors import Refused
from clawbus.org import Org
from clawbus.provision.permissions import PROVISIONER
from clawbus.tasks.guests import guest_subjects
from clawbus.wire.channels import CHANNELS, ENDS, GUEST, INBOX, STREAMS, TASKS, Stream
from clawbus.wire.subjects import Subjects

_NS = 1_000_000_000
_MIB = 1024 * 1024
DEDUP_WINDOW_S = 600
MAX_MESSAGE_BYTES = 1 * _MIB
MOST_MAIL = 1_000
"""Messages of one sender in one inbox, whoever wrote them: a stolen key cannot bury a reader. A node refuses its agents
long before (policies.mail_quota), so that there is room for results; one that finds none waits, and is not lost."""
MOST_ENDS = 4
"""Writes of one sender on the end of one task, of which the first is his: a stolen key cannot keep the others from
theirs by writing on and on, nor make everybody read thousands."""


def stream_configs(org: Org) -> list[dict[str, Any]]:
    """The configuration of each stream, as `$JS.API.STREAM.CREATE` takes it."""
    subjects = Subjects(org.company)
    found = []
    for stream in STREAMS:
        named = [subjects.everything(row.name) for row in CHANNELS if row.stream == stream.name]
        if stream.name == GUEST:
            named = list(guest_subjects(org))
        if named:
            found.append(_config(stream, [*named, subjects.probe(stream.name, PROVISIONER)], org))
    return found


def _config(stream: Stream, subjects: list[str], org: Org) -> dict[str, Any]:
    age_s = org.policies.task_life_s if stream.name == TASKS else stream.age_s
    config: dict[str, Any] = {
        "name": stream.name,
        "subjects": subjects,
        "retention": stream.retention,
        "storage": "file",
        "discard": stream.discard,
        "max_age": age_s * _NS,
        "max_bytes": org.streams.mib(stream.name) * _MIB,
        "max_msg_size": MAX_MESSAGE_BYTES,
        "duplicate_window": min(DEDUP_WINDOW_S, age_s or DEDUP_WINDOW_S) * _NS,
        "num_replicas": 1,
        "deny_delete": True,
        "deny_purge": False,
        "max_consumers": -1,
        "allow_direct": True,
    }
    if (most := {TASKS: org.policies.quota, INBOX: MOST_MAIL, ENDS: MOST_ENDS}.get(stream.name)) is not None:
        config |= {"max_msgs_per_subject": most, "discard_new_per_subject": True}
    if stream.per_subject is not None:
        config["max_msgs_per_subject"] = stream.per_subject
    if stream.schedules:
        config["allow_msg_schedules"] = True
    if stream.no_ack:
        config["no_ack"] = True
    return config


def refuse_another_companys(name: str, have: dict[str, Any], org: Org) -> None:
    """Raises Refused if a stream that the server has holds another company's subjects.

    Companies on one server need an account each.
    """
    subjects = have["subjects"]
    if name != GUEST and any(not subject.startswith(f"{org.company}.") for subject in subjects):
        raise _anothers(name, subjects, org)


def _anothers(stream: str, subjects: list[str], org: Org) -> Refused:
    """The refusal of another company's stream; on a server of our own this company had another name before."""
    problem = f"the stream {stream} on this server holds {subjects}, and this company is {org.company}"
    if org.bus.url is not None:
        return Refused(problem, "Another company lives in this account: give each company an account of its own.")
    before = subjects[0].partition(".")[0]
    return Refused(
        problem,
        f'Write company = "{before}" again in org.toml; or begin anew under the new name: end `clawbus up`, and move '
        ".clawbus/nats/jetstream away (tasks, mail and all that was said go with it).",
    )
