"""The wake rules: which messages begin a turn of an agent. A pure function of the message, its channel and the org."""

from __future__ import annotations

from typing import Literal

from clawbus.org import Org
from clawbus.wire.envelope import Envelope
from clawbus.wire.subjects import Parsed

Asks = Literal["now", "digest", "never"]

MAX_HOPS = 8
"""Each message that is written because of another one is a hop. Beyond this it lies in nats_inbox and wakes nobody."""
_URGENT = ("critical", "high")
_QUIET = ("task", "result", "control", "report", "progress", "insight", "confirm", "contribution")
"""The types that wake nobody. Tasks, results and control messages are delivered in ways of their own."""


def wakes(mail: Envelope, channel: str, org: Org, agent: str) -> Asks:
    """The attention that a message asks of `agent`: a turn now, a place in the next digest, or never a turn.

    | message | asks |
    |---|---|
    | passed on more than MAX_HOPS times | never |
    | on a topic that the agent hears with `wake`, whatever its type | now |
    | on any other topic that it hears | never |
    | report, progress, insight, confirm, contribution, a stray result | never |
    | blocker | now |
    | critical, high | now |
    | medium, low | digest |

    A message that asks for no turn is listed in the agent's next one, and nats_inbox shows it.
    """
    if mail.hops > MAX_HOPS:
        return "never"
    if channel == "topics":
        return "now" if _hears_awake(org, agent, mail.to) else "never"
    if mail.type in _QUIET:
        return "never"
    return "now" if mail.type == "blocker" or mail.priority in _URGENT else "digest"


def _hears_awake(org: Org, agent: str, topic: str) -> bool:
    """True if one of the agent's subscriptions to the topic says `wake`."""
    wide = f"{topic.partition('.')[0]}.*"
    subscriptions = next((known.subscriptions for known in org.agents if known.id == agent), ())
    return any(subscription.wake and subscription.topic in (topic, wide) for subscription in subscriptions)


def address_of(parsed: Parsed) -> str:
    """The `to` that a broadcast must name, by the subject on which it came."""
    match parsed.channel:
        case "team":
            return parsed.tokens["team"]
        case "topics":
            return f"{parsed.tokens['kind']}.{parsed.tokens['name']}"
    return parsed.channel
