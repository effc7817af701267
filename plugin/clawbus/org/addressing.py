"""The recipient of a message: the text that people and models write, its subject, and the agents that hear it.

cto-athena          one agent or person, in its inbox
team:exec, exec     a team            all              everyone
topic:status.deploy a topic           learning         an insight, or what one says of it
"""

from __future__ import annotations

import difflib

from clawbus.errors import InvalidInput, NotFound
from clawbus.org import STEWARD, Org
from clawbus.wire.envelope import Envelope
from clawbus.wire.subjects import Subjects, check_id, check_topic

ALL, LEARNING = "all", "learning"
_TEAM, _TOPIC = "team:", "topic:"


def check_recipient(field: str, value: str) -> str:
    """Return `value` if it has the form of a recipient. Raises InvalidInput, naming `field`."""
    if isinstance(value, str) and value.startswith(_TOPIC):
        check_topic(field, value.removeprefix(_TOPIC))
        return value
    check_id(field, value.removeprefix(_TEAM) if isinstance(value, str) else value)
    return value


def resolve(org: Org, field: str, value: str) -> str:
    """The envelope's `to` for a recipient: an id, "all", "learning", or a topic such as status.deploy.

    Raises InvalidInput, or NotFound with names that come near, before anything is sent.
    """
    check_recipient(field, value)
    if value.startswith(_TOPIC):
        return value.removeprefix(_TOPIC)
    name = value.removeprefix(_TEAM)
    is_single = name in (ALL, LEARNING, STEWARD) or name in org.people or name in org.agents_by_id
    if org.is_team(name) or (is_single and not value.startswith(_TEAM)):
        return name
    if org.members(name):
        remedy = f"Give it a task, or name one: {', '.join(org.members(name))}."
        raise InvalidInput(field, value, "is a pool, which takes tasks only", remedy)
    raise NotFound(f"{field} = {value!r}: nobody in {org.company} has that name", _near(org, name))


def _near(org: Org, name: str) -> str:
    agents = [agent.id for agent in org.agents]
    teams = [f"{_TEAM}{team}" for team in org.team_ids]
    known = [*agents, *sorted(org.people), *teams, ALL]
    near = difflib.get_close_matches(name, known, 3, 0.5)
    meant = f"Did you mean {' or '.join(near)}? " if near else ""
    return f"{meant}There are: {', '.join(known)}; and topic:<kind>.<name>, learning."


def channel_of(org: Org, to: str) -> str:
    """The channel on which a message to `to` (an envelope's) travels."""
    if to in (ALL, LEARNING):
        return to
    if "." in to:
        return "topics"
    return "team" if org.is_team(to) else "dm"


def subject_of(org: Org, mail: Envelope) -> str:
    """The subject of a message, by its sender and its recipient."""
    subjects, channel = Subjects(org.company), channel_of(org, mail.to)
    if channel == "topics":
        kind, name = check_topic("to", mail.to)
        return subjects.build(channel, mail.sender, kind=kind, name=name)
    tokens = {"dm": {"to": mail.to}, "team": {"team": mail.to}}
    return subjects.build(channel, mail.sender, **tokens.get(channel, {}))


def hearers(org: Org, to: str) -> tuple[str, ...]:
    """The agents that hear what is said to everyone, to a team or on a topic, in the org's order."""
    channel = channel_of(org, to)
    if channel == ALL:
        return tuple(agent.id for agent in org.listeners)
    if channel == "team":
        return tuple(agent.id for agent in org.listeners if agent.team == to)
    if channel != "topics":
        return ()
    wide = f"{to.partition('.')[0]}.*"
    return tuple(agent.id for agent in org.listeners if any(sub.topic in (to, wide) for sub in agent.subscriptions))
