"""The permissions of nats-server's users: one list per role, in which `{{tag(…)}}` stands for what is a key's own.

The shapes are those of the table in the NATS research that held against attack: the sender is the last token of
every subject, a node may pull from and acknowledge its own durables only, and nobody but the provisioner may
create or change a stream or a consumer. A role's list stands in the company's account, signed; a key's credentials
only say which role it has and what it calls its own (docs.nats.io, "Scoped signing keys"): whoever could mint
credentials could still mint none that go beyond their role.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from clawbus.bus.durables import STEWARD_READER, gateway_reader, group_durable, person_reader, task_durable
from clawbus.org import EXTERNAL, STEWARD, Org
from clawbus.provision.accounts import API_PREFIX, GATEWAYS, GUESTS, OFFICE, STAFF, WATCHED, credentials_subject
from clawbus.provision.consumers import steward_durables
from clawbus.tasks.guests import ANSWERS, GUEST, guest_subjects
from clawbus.wire.channels import (
    BCAST,
    CTL,
    DEAD,
    INBOX,
    STREAMS,
    TASKS,
    TIMERS,
)
from clawbus.wire.subjects import PRIORITIES, Subjects

PROVISIONER = "provisioner"
GATEWAY, PERSON = "gateway", "person"
ROLES = {GATEWAY: GATEWAYS, PERSON: STAFF, STEWARD: STAFF, PROVISIONER: OFFICE, GUEST: GUESTS}
"""The account of each role."""
READ_BY_NODES = tuple(stream.name for stream in STREAMS if stream.node_reads)
"""The streams that a gateway's key may read message by message."""
_ALL_STREAMS = tuple(stream.name for stream in STREAMS)
_NAME, _AGENT, _PERSON = "{{name()}}", "{{tag(agent)}}", "{{tag(person)}}"
_READER, _QUEUE = "{{tag(reader)}}", "{{tag(queue)}}"
_PLACE = re.compile(r"\{\{(?:name\(\)|tag\((\w+)\))\}\}")


@dataclass(frozen=True, slots=True)
class Rights:
    """The subjects that a role may publish and subscribe to. Nothing else is allowed."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grant:
    """A key's role, and the ids that are its own by tag: agents, a reader, queues."""

    name: str
    role: str
    tags: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def account(self) -> str:
        return ROLES[self.role]

    @property
    def tag_list(self) -> list[str]:
        return [f"{tag}:{value}" for tag, values in self.tags.items() for value in values]

    def is_exceeded_by(self, tags: Iterable[str]) -> bool:
        """True if credentials with these tags permit more than this."""
        return bool(set(tags) - set(self.tag_list))


def grants(org: Org) -> dict[str, Grant]:
    """Every key that a company has, by its name; the guests' if they are let in.

    The whole company is walked through: who needs one key asks `grant_of`, who needs several keeps the answer.
    """
    names = [PROVISIONER, STEWARD, *(f"gw-{gateway.id}" for gateway in org.gateways)]
    names += [*(f"me-{human.id}" for human in org.humans), GUEST]
    return {name: grant for name in names if (grant := grant_of(org, name)) is not None}


def grant_of(org: Org, name: str) -> Grant | None:
    """The grant of one key, by its name; None if the company has no such key."""
    kind, _, member = name.partition("-")
    if name in (PROVISIONER, STEWARD) or (name == GUEST and guest_subjects(org)):
        return Grant(name, name)
    if kind == "gw" and org.has_gateway(member):
        return _gateway(org, member)
    if kind == "me" and member in org.people:
        return Grant(name, PERSON, {"person": (member,), "reader": (person_reader(member),)})
    return None


def _gateway(org: Org, gateway: str) -> Grant:
    queues = [task_durable(gateway, priority) for priority in PRIORITIES]
    queues += [group_durable(group, priority) for group in org.groups_of(gateway) for priority in PRIORITIES]
    agents = tuple(agent.id for agent in org.agents_of(gateway))
    return Grant(
        f"gw-{gateway}", GATEWAY, {"agent": agents, "reader": (gateway_reader(gateway),), "queue": tuple(queues)}
    )


def rights(org: Org, role: str) -> Rights:
    """The subjects for every key of a role, with `{{tag(…)}}` in them."""
    if role == PROVISIONER:
        return Rights((">",), (">",))
    make = {GATEWAY: _of_gateways, PERSON: _of_people, STEWARD: _of_stewards, GUEST: _of_guests}
    return make[role](org)


def allowed(org: Org, grant: Grant) -> Rights:
    """The subjects for one key, its tags filled in, as the server does with the role's list and the credentials."""
    role = rights(org, grant.role)
    return Rights(_filled(role.publish, grant), _filled(role.subscribe, grant))


def _filled(subjects: tuple[str, ...], grant: Grant) -> tuple[str, ...]:
    found: list[str] = []
    for subject in subjects:
        places = [match[1] for match in _PLACE.finditer(subject)]
        choices = [grant.tags.get(tag, ()) if tag else (grant.name,) for tag in places]
        for chosen in itertools.product(*choices):
            words = iter(chosen)
            found.append(_PLACE.sub(lambda _, words=words: next(words), subject))  # type: ignore[misc]
    return tuple(found)


def _of_gateways(org: Org) -> Rights:
    subjects = Subjects(org.company)
    publish = [*subjects.may_publish(_AGENT, "agents"), credentials_subject(org.company, _NAME)]
    publish += _consumer(TASKS, _QUEUE)
    for stream in (INBOX, CTL, BCAST):
        publish += _consumer(stream, _READER)
    # Not DIRECT.GET: it sends a stored message as it is to any `reply`, and so would let a node forge one.
    publish += [f"{API_PREFIX}.STREAM.MSG.GET.{stream}" for stream in READ_BY_NODES]
    return Rights(tuple(publish), (f"_INBOX.{_NAME}.>", subjects.everything("presence"), subjects.everything("roll")))


def _of_people(org: Org) -> Rights:
    """A person sees the whole company, and speaks as himself only."""
    subjects = Subjects(org.company)
    publish = [*subjects.may_publish(_PERSON, "people"), *_consumer(INBOX, _READER)]
    publish += [credentials_subject(org.company, _NAME), *_reading(), f"{API_PREFIX}.INFO"]
    watch = [subjects.everything(name) for name in ("presence", *WATCHED)]
    return Rights(tuple(publish), (f"_INBOX.{_NAME}.>", *watch))


def _of_stewards(org: Org) -> Rights:
    """The steward reads everything, and speaks as itself; and for the guests, whose words it has translated."""
    subjects = Subjects(org.company)
    publish = [*subjects.may_publish(STEWARD, "steward"), *subjects.may_publish(EXTERNAL)]
    publish += [credentials_subject(org.company, _NAME)]
    for stream, _ in steward_durables(org):
        publish += _consumer(stream, STEWARD_READER)
    publish += _reading()
    publish += [f"{API_PREFIX}.STREAM.PURGE.{stream}" for stream in (TIMERS, DEAD)]
    publish.append(f"{API_PREFIX}.INFO")
    watch = [subjects.everything("presence"), subjects.everything("end")]
    if guests := guest_subjects(org):
        watch += guests  # a plain request is heard as it is said: its reply subject is not kept in a stream
        publish.append(f"{ANSWERS}>")
    return Rights(tuple(publish), (f"_INBOX.{_NAME}.>", *watch))


def _of_guests(org: Org) -> Rights:
    """A plain client: the subjects of the published examples, and its own answers; its account has nobody else."""
    return Rights(guest_subjects(org), ("_INBOX.>",))


def _reading() -> list[str]:
    gets = ("STREAM.MSG.GET", "DIRECT.GET", "STREAM.INFO")
    return [f"{API_PREFIX}.{get}.{stream}" for get in gets for stream in _ALL_STREAMS]


def _consumer(stream: str, durable: str) -> list[str]:
    return [
        f"{API_PREFIX}.CONSUMER.MSG.NEXT.{stream}.{durable}",
        f"{API_PREFIX}.CONSUMER.INFO.{stream}.{durable}",
        f"$JS.ACK.{stream}.{durable}.>",
    ]
