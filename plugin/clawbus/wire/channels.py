"""The channels and the streams of a company, one row each. To add one, add a row.

A subject is `<company>.<channel>.<tokens…>.<sender>`. `wire.subjects` builds and parses subjects from this table.
`provision` makes the streams and the permissions from it. A stream that is new needs a size in `org.stream_sizes`, too;
one that the steward reads needs a filter in `provision.consumers`, and a call in `steward.duty`.
"""

from __future__ import annotations

from dataclasses import dataclass

TASKS, INBOX, CTL, ENDS, EVENTS = "TASKS", "INBOX", "CTL", "ENDS", "EVENTS"
BCAST, LEARN, ART, DEAD, ALERTS, TIMERS, GUEST = "BCAST", "LEARN", "ART", "DEAD", "ALERTS", "TIMERS", "GUEST"
KEYS, STATE, SPEND = "KEYS", "STATE", "SPEND"

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel. `tokens`: the names of the tokens between its own name and the sender.

    `stream`: the stream that keeps it; None if nothing keeps it. `by` says who may publish: "everyone" of the company;
    only its "agents" (and the steward); only its "people"; the "steward" alone; the "provisioner" alone.
    """

    name: str
    tokens: tuple[str, ...]
    stream: str | None
    by: str = "everyone"


CHANNELS = (
    Channel("tasks", ("to", "priority"), TASKS),
    Channel("dm", ("to",), INBOX),
    Channel("ctl", ("to",), CTL),
    Channel("end", ("task",), ENDS),
    Channel("events", ("task",), EVENTS),
    Channel("all", (), BCAST),
    Channel("team", ("team",), BCAST),
    Channel("topics", ("kind", "name"), BCAST),
    Channel("learning", (), LEARN),
    Channel("art", ("sha256", "part"), ART),
    Channel("presence", (), None),
    Channel("roll", (), None),
    Channel("dead", ("task",), DEAD, "agents"),
    Channel("alerts", ("rule", "key"), ALERTS, "steward"),
    Channel("timers", ("phase", "rule", "key"), TIMERS, "steward"),
    Channel("keys", ("member",), KEYS, "provisioner"),
    Channel("state", ("target",), STATE, "people"),
    Channel("spend", ("trace",), SPEND),
)


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream and its bounds. `age_s` 0: messages have no age.

    `discard`: a full stream refuses the newest message ("new"), or drops the oldest ("old").
    """

    name: str
    retention: str
    age_s: int
    size_mib: int
    discard: str = "new"
    per_subject: int | None = None
    """The most messages that one subject keeps; None: no bound. The oldest of a subject go."""
    schedules: bool = False
    no_ack: bool = False
    node_reads: bool = False
    """A gateway's key may read it message by message."""
    durables: bool = True
    """Durable consumers may read it; False: it is only looked up."""


STREAMS = (
    Stream(TASKS, "workqueue", 3 * DAY_S, 512),  # org.toml sets its age: policies.task_life
    Stream(INBOX, "workqueue", 30 * DAY_S, 512),
    Stream(CTL, "workqueue", 3 * DAY_S, 64),
    Stream(ENDS, "limits", 30 * DAY_S, 1024, node_reads=True),
    Stream(EVENTS, "limits", 14 * DAY_S, 512, discard="old", node_reads=True),
    Stream(BCAST, "limits", 14 * DAY_S, 256, discard="old"),
    Stream(LEARN, "limits", 180 * DAY_S, 128, node_reads=True),
    Stream(ART, "limits", 30 * DAY_S, 4096, node_reads=True),
    Stream(DEAD, "limits", 90 * DAY_S, 512),
    Stream(ALERTS, "limits", 90 * DAY_S, 64, discard="old", per_subject=16, durables=False),
    # nats-server allows scheduled messages only in a stream that discards the oldest.
    Stream(TIMERS, "workqueue", 60 * DAY_S, 64, discard="old", schedules=True),
    # The public key of each member. It must not age.
    Stream(KEYS, "limits", 0, 16, per_subject=1, node_reads=True, durables=False),
    # The agents that are stopped or paused. An order must not age.
    Stream(STATE, "limits", 0, 16, per_subject=1, node_reads=True, durables=False),
    # Two records of about 600 bytes for each task. While it is full, no task can be given.
    Stream(SPEND, "limits", 14 * DAY_S, 1024, node_reads=True, durables=False),
    Stream(GUEST, "workqueue", 3 * DAY_S, 64, no_ack=True),
)


def channel(name: str) -> Channel | None:
    """The row of a channel; None if no channel has that name."""
    return next((row for row in CHANNELS if row.name == name), None)
