"""The channels of a company, one row each: their subjects, their stream, who speaks on them. To add one, add a row.

A subject is `<company>.<channel>.<tokens…>.<sender>`. `subjects` builds and parses from this table, `provision` makes
the streams and the permissions from it.
"""

from __future__ import annotations

from dataclasses import dataclass

TASKS, INBOX, CTL, ENDS, EVENTS = "TASKS", "INBOX", "CTL", "ENDS", "EVENTS"
BCAST, LEARN, ART, DEAD, ALERTS, TIMERS, GUEST = "BCAST", "LEARN", "ART", "DEAD", "ALERTS", "TIMERS", "GUEST"
KEYS, STATE, SPEND = "KEYS", "STATE", "SPEND"

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel. `tokens`: what stands between its name and the sender.

    `by`: "everyone" of the company, its "agents" only (and the steward), its "people" only, or the "steward" or the
    "provisioner" alone.
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
    """A stream and its bounds. What is full refuses the newest, unless `discard` says that the oldest go."""

    name: str
    retention: str
    age_s: int
    size_mib: int
    discard: str = "new"
    per_subject: int | None = None
    """Messages kept per subject; the oldest of a subject go."""
    schedules: bool = False
    no_ack: bool = False


STREAMS = (
    Stream(TASKS, "workqueue", 3 * DAY_S, 512),  # its age is policies.task_life
    Stream(INBOX, "workqueue", 30 * DAY_S, 512),
    Stream(CTL, "workqueue", 3 * DAY_S, 64),
    Stream(ENDS, "limits", 30 * DAY_S, 1024),
    Stream(EVENTS, "limits", 14 * DAY_S, 512, discard="old"),
    Stream(BCAST, "limits", 14 * DAY_S, 256, discard="old"),
    Stream(LEARN, "limits", 180 * DAY_S, 128),
    Stream(ART, "limits", 30 * DAY_S, 4096),
    Stream(DEAD, "limits", 90 * DAY_S, 512),
    Stream(ALERTS, "limits", 90 * DAY_S, 64, discard="old", per_subject=16),
    Stream(TIMERS, "workqueue", 60 * DAY_S, 64, discard="old", schedules=True),  # schedules want "old"
    Stream(KEYS, "limits", 0, 16, per_subject=1),  # the public key of each member; without end
    Stream(STATE, "limits", 0, 16, per_subject=1),  # who is stopped or paused; without end
    Stream(SPEND, "limits", 14 * DAY_S, 1024),  # two records of some 600 bytes per task; full, nothing is given
    Stream(GUEST, "workqueue", 3 * DAY_S, 64, no_ack=True),
)


def channel(name: str) -> Channel | None:
    """The channel of that name, None if there is none."""
    return next((one for one in CHANNELS if one.name == name), None)
