"""Who may say what to nats-server: computed from the org, one list per key.

The shapes are those of the table in the NATS research that held against attack: the sender is the last token of
every subject, a node may pull from and acknowledge its own durables only, and nobody but the provisioner may
create or change a stream or a consumer.
"""

from __future__ import annotations

from clawbus.bus.names import STEWARD_READER, gateway_reader, group_durable, person_reader, task_durable
from clawbus.channels import (
    ART,
    BCAST,
    CTL,
    DEAD,
    ENDS,
    EVENTS,
    INBOX,
    KEYS,
    LEARN,
    SPEND,
    STATE,
    STREAMS,
    TASKS,
    TIMERS,
)
from clawbus.dialects import GUEST, heard
from clawbus.identity import Identity
from clawbus.org import EXTERNAL, STEWARD, Org
from clawbus.provision.consumers import consumer_configs
from clawbus.provision.server import User
from clawbus.subjects import PRIORITIES, Subjects

PROVISIONER = "provisioner"
READ_BY_NODES = (ENDS, EVENTS, LEARN, ART, KEYS, STATE, SPEND)
"""What a gateway's key may read message by message."""
_ALL_STREAMS = tuple(stream.name for stream in STREAMS)


def key_names(org: Org) -> list[str]:
    """The names of all keys that a company has; the guests' among them if they are let in."""
    guests = [GUEST] if heard(org) else []
    gateways = [f"gw-{gateway.id}" for gateway in org.gateways]
    return [PROVISIONER, STEWARD, *gateways, *(f"me-{human.id}" for human in org.humans), *guests]


def users(org: Org, identities: dict[str, Identity]) -> list[User]:
    """The server's users: each key of `key_names` with what it may publish and subscribe to."""
    found = [User(identities[PROVISIONER].public_key, (">",), (">",)), _steward(org, identities[STEWARD])]
    found += [_gateway(org, g.id, identities[f"gw-{g.id}"]) for g in org.gateways]
    found += [_person(org, h.id, identities[f"me-{h.id}"]) for h in org.humans]
    return found + ([_guest(org, identities[GUEST])] if GUEST in identities else [])


def _gateway(org: Org, gateway: str, identity: Identity) -> User:
    subjects = Subjects(org.company)
    publish = [subject for agent in org.agents_of(gateway) for subject in subjects.may_publish(agent.id, "agents")]
    for priority in PRIORITIES:
        publish += _consumer(TASKS, task_durable(gateway, priority))
        publish += [one for g in org.groups_of(gateway) for one in _consumer(TASKS, group_durable(g, priority))]
    for stream in (INBOX, CTL, BCAST):
        publish += _consumer(stream, gateway_reader(gateway))
    # Not DIRECT.GET: it sends a stored message as it is to any `reply`, and so would let a node forge one.
    publish += [f"$JS.API.STREAM.MSG.GET.{stream}" for stream in READ_BY_NODES]
    return User(identity.public_key, tuple(publish), (f"_INBOX.{identity.name}.>", subjects.everything("presence")))


def _person(org: Org, person: str, identity: Identity) -> User:
    """A person sees the whole company, and speaks as himself only."""
    subjects = Subjects(org.company)
    publish = [*subjects.may_publish(person, "people"), *_consumer(INBOX, person_reader(person))]
    publish += [f"$JS.API.{get}.{stream}" for stream in _ALL_STREAMS for get in ("STREAM.MSG.GET", "DIRECT.GET")]
    publish += [f"$JS.API.STREAM.INFO.{stream}" for stream in _ALL_STREAMS]
    publish += ["$JS.API.INFO"]
    watch = [subjects.everything(name) for name in ("presence", "events", "end", "all", "team", "topics", "alerts")]
    return User(identity.public_key, tuple(publish), (f"_INBOX.{identity.name}.>", *watch))


def _steward(org: Org, identity: Identity) -> User:
    """The steward reads everything, and speaks as itself; and for the guests, whose words it has translated."""
    subjects = Subjects(org.company)
    publish = [*subjects.may_publish(STEWARD, "steward"), *subjects.may_publish(EXTERNAL)]
    for stream, config in consumer_configs(org):
        if config["durable_name"] == STEWARD_READER:
            publish += _consumer(stream, STEWARD_READER)
    publish += [f"$JS.API.{get}.{stream}" for stream in _ALL_STREAMS for get in ("STREAM.MSG.GET", "DIRECT.GET")]
    publish += [f"$JS.API.STREAM.INFO.{stream}" for stream in _ALL_STREAMS]
    publish += [f"$JS.API.STREAM.PURGE.{stream}" for stream in (TIMERS, DEAD)]
    watch = [subjects.everything("presence"), subjects.everything("end")]
    if guests := heard(org):
        watch += guests  # a plain request is heard as it is said: its reply subject is not kept in a stream
        publish.append("_INBOX.>")
    return User(identity.public_key, tuple(publish), (f"_INBOX.{identity.name}.>", *watch))


def _guest(org: Org, identity: Identity) -> User:
    """A plain client: the subjects of the published examples, and its own answers; nobody else's."""
    others = tuple(f"_INBOX.{name}.>" for name in key_names(org) if name != GUEST)
    return User(identity.public_key, heard(org), ("_INBOX.>",), others)


def _consumer(stream: str, durable: str) -> list[str]:
    return [
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}",
        f"$JS.API.CONSUMER.INFO.{stream}.{durable}",
        f"$JS.ACK.{stream}.{durable}.>",
    ]
