"""Who may say what to nats-server: computed from the org, one list per key.

The shapes are those of the table in the NATS research that held against attack: the sender is the last token of
every subject, a node may pull from and acknowledge its own durables only, and nobody but the provisioner may
create or change a stream or a consumer.
"""

from __future__ import annotations

from clawbus.bus.names import CTL, ENDS, EVENTS, INBOX, TASKS, gateway_reader, person_reader, task_durable
from clawbus.identity import Identity
from clawbus.org import Org
from clawbus.provision.server import User
from clawbus.subjects import PRIORITIES, Subjects

PROVISIONER = "provisioner"


def key_names(org: Org) -> list[str]:
    """The names of all keys that a company has: its provisioner, its gateways, its people."""
    return [PROVISIONER, *(f"gw-{g.id}" for g in org.gateways), *(f"me-{h.id}" for h in org.humans)]


def users(org: Org, identities: dict[str, Identity]) -> list[User]:
    """The server's users: each key of `key_names` with what it may publish and subscribe to."""
    found = [User(identities[PROVISIONER].public_key, (">",), (">",))]
    found += [_gateway(org, g.id, identities[f"gw-{g.id}"]) for g in org.gateways]
    found += [_person(org, h.id, identities[f"me-{h.id}"]) for h in org.humans]
    return found


def _gateway(org: Org, gateway: str, identity: Identity) -> User:
    subjects = Subjects(org.company)
    publish = [subject for agent in org.agents_of(gateway) for subject in subjects.may_publish(agent.id)]
    for priority in PRIORITIES:
        publish += _consumer(TASKS, task_durable(gateway, priority))
    publish += _consumer(INBOX, gateway_reader(gateway)) + _consumer(CTL, gateway_reader(gateway))
    # Not DIRECT.GET: it sends a stored message as it is to any `reply`, and so would let a node forge one.
    publish += [f"$JS.API.STREAM.MSG.GET.{ENDS}", f"$JS.API.STREAM.MSG.GET.{EVENTS}"]
    return User(identity.public_key, tuple(publish), (f"_INBOX.{identity.name}.>", subjects.everything("presence")))


def _person(org: Org, person: str, identity: Identity) -> User:
    """A person sees the whole company (its tasks, events and ends), and speaks as himself only."""
    subjects = Subjects(org.company)
    publish = [*subjects.may_publish(person), *_consumer(INBOX, person_reader(person))]
    publish += [f"$JS.API.STREAM.MSG.GET.{stream}" for stream in (ENDS, EVENTS)]
    publish += [f"$JS.API.DIRECT.GET.{stream}" for stream in (ENDS, EVENTS, TASKS, INBOX)]
    publish += [f"$JS.API.STREAM.INFO.{stream}" for stream in (TASKS, INBOX, CTL, ENDS, EVENTS)]
    publish += ["$JS.API.INFO"]
    watch = [subjects.everything(channel) for channel in ("presence", "events", "end")]
    return User(identity.public_key, tuple(publish), (f"_INBOX.{identity.name}.>", *watch))


def _consumer(stream: str, durable: str) -> list[str]:
    return [
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}",
        f"$JS.API.CONSUMER.INFO.{stream}.{durable}",
        f"$JS.ACK.{stream}.{durable}.>",
    ]
