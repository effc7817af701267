"""What wakes an agent, in one table. A pure function: nothing is asked but the message, its way, and the org file."""

from __future__ import annotations

from typing import Literal

from clawbus.org import Org
from clawbus.wire.envelope import Envelope
from clawbus.wire.subjects import Parsed

Asks = Literal["now", "digest", "never"]

MAX_HOPS = 8
"""A message that was said because of a message, and so on: beyond this it lies in nats_inbox and wakes nobody."""
_URGENT = ("critical", "high")
_QUIET = ("task", "result", "control", "report", "progress", "insight", "confirm", "contribution")
"""Types that never wake by themselves (tasks, results and control have roads of their own)."""


def wakes(mail: Envelope, channel: str, org: Org, agent: str) -> Asks:
    """Whether a message to `agent` asks for a turn of its own, for a place in the next digest, or for none.

    | message | asks |
    |---|---|
    | passed on more than MAX_HOPS times | never |
    | on a topic that the agent hears with `wake`, whatever its type | now |
    | on any other topic that it hears | never |
    | report, progress, insight, confirm, contribution, a stray result | never |
    | blocker | now |
    | critical, high | now |
    | medium, low | digest |

    What asks for no turn is listed in the next one, and shown by nats_inbox.
    """
    if mail.hops > MAX_HOPS:
        return "never"
    if channel == "topics":
        return "now" if _hears_awake(org, agent, mail.to) else "never"
    if mail.type in _QUIET:
        return "never"
    return "now" if mail.type == "blocker" or mail.priority in _URGENT else "digest"


def _hears_awake(org: Org, agent: str, topic: str) -> bool:
    """Whether one of the agent's subscriptions to the topic says `wake`."""
    wide = f"{topic.partition('.')[0]}.*"
    subscriptions = next((one.subscriptions for one in org.agents if one.id == agent), ())
    return any(one.wake and one.topic in (topic, wide) for one in subscriptions)


def address_of(parsed: Parsed) -> str:
    """The `to` that a broadcast must name, by the subject on which it came."""
    match parsed.channel:
        case "team":
            return parsed.tokens["team"]
        case "topics":
            return f"{parsed.tokens['kind']}.{parsed.tokens['name']}"
    return parsed.channel
