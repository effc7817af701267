"""The accounts of a company, and the subjects that pass between them.

The streams live in the office's account, with nobody but the provisioner. Gateways, people with the steward, and guests
live in accounts of their own, which import what they need as services. So an answer can only go where the request came
from. Were the streams in the same account, a thief could aim the server's answer to a publish at another's inbox, where
it would be stored as if it came from the CEO; or aim a stored message at the list of public keys.
"""

from __future__ import annotations

from dataclasses import dataclass

from clawbus.bus.identity import SERVER_API
from clawbus.org import Org
from clawbus.tasks.guests import MAX_WAIT_S, guest_subjects
from clawbus.wire.channels import CHANNELS
from clawbus.wire.subjects import Subjects

OFFICE, STAFF, GATEWAYS, GUESTS = "HUB", "STAFF", "AGENTS", "GUESTS"
ACCOUNTS = (OFFICE, STAFF, GATEWAYS, GUESTS)
API_PREFIX = "HUB"
"""JetStream's API, as the importing accounts know it: under its own name, the importing account would answer first."""
_API = ("STREAM.MSG.GET.*", "CONSUMER.INFO.*.*", "CONSUMER.MSG.NEXT.*.*")
_OF_STAFF = ("DIRECT.GET.*", "STREAM.INFO.*", "STREAM.PURGE.*", "INFO")
_MANY = ("CONSUMER.MSG.NEXT.*.*", "DIRECT.GET.*")
_MARGIN_S = 60
WATCHED = ("events", "end", "all", "team", "topics", "alerts")
"""The channels that people and stewards hear live, not from a stream."""
_PER_GATEWAY, _BESIDE, _GUESTS = 4, 16, 64
_FOR_PEOPLE = 512


@dataclass(frozen=True, slots=True)
class Service:
    """A subject that an account answers. `local`: its name in the account that asks.

    `many`: one request gets several answers. `within_s`: an answer may take so long, where that is longer than the
    server waits.
    """

    subject: str
    local: str
    many: bool = False
    within_s: int | None = None
    by: str = OFFICE


@dataclass(frozen=True, slots=True)
class Overheard:
    """A subject on which one account hears what is said in another."""

    subject: str
    said_in: str
    heard_in: str


def most_connections(org: Org, account: str) -> int | None:
    """The number of connections that an account may have at once; None: no bound.

    A node has one connection, and a second while the server has not noticed yet that the first is lost. A thief of a
    gateway's or the guests' key cannot take the room of people, who stop the company and make stolen keys anew.
    """
    if account == GUESTS:
        return _GUESTS
    return _PER_GATEWAY * len(org.gateways) + _BESIDE if account == GATEWAYS else None


def most_leaves(org: Org, account: str) -> int:
    """The number of leaves' links that an account may have at once: each gateway of a leaf has one, others none."""
    return most_connections(org, account) or 0 if account == GATEWAYS else 0


def room_for_all(org: Org) -> int:
    """The number of connections that the company's server lets in: bounded accounts never take the room of people."""
    return sum(most_connections(org, account) or 0 for account in ACCOUNTS) + _FOR_PEOPLE


def credentials_subject(company: str, key: str) -> str:
    """The subject on which the holder of a key asks for credentials that live longer; `key` may be `*`."""
    return f"{company}.creds.{key}"


def services(org: Org, account: str) -> list[Service]:
    """The services that an account may ask: the office's; for guests the staff's, where a steward hears and answers."""
    if account == OFFICE:
        return []
    if account == GUESTS:
        return [_of_guests(subject, STAFF) for subject in guest_subjects(org)]
    speakers = ["everyone", "agents"] + (["people", "steward"] if account == STAFF else [])
    methods = [*_API, *(_OF_STAFF if account == STAFF else ())]
    subjects = Subjects(org.company)
    spoken = [subjects.everything(row.name) for row in CHANNELS if row.stream and row.by in speakers]
    named = [*spoken, credentials_subject(org.company, "*"), "$JS.ACK.>"]
    found = [*(Service(subject, subject) for subject in named), *(_method(method) for method in methods)]
    return found + [_of_guests(subject, OFFICE) for subject in guest_subjects(org) if account == STAFF]


def exported(org: Org, account: str) -> list[Service]:
    """The services that an account answers, whichever account asks."""
    asked = (service for other in ACCOUNTS for service in services(org, other) if service.by == account)
    return list({service.subject: service for service in asked}.values())


def overheard(org: Org) -> list[Overheard]:
    """The subjects that pass without a request: presence, the roll call, and the events of tasks.

    The staff hears gateways in the gateways' own account: what has come in as a service goes out as no stream.
    """
    subjects = Subjects(org.company)
    presence, roll = subjects.everything("presence"), subjects.everything("roll")
    found = [
        Overheard(presence, GATEWAYS, STAFF),
        Overheard(presence, GATEWAYS, OFFICE),
        Overheard(roll, STAFF, GATEWAYS),
    ]
    return found + [
        Overheard(subjects.everything(name), place, STAFF) for name in WATCHED for place in (GATEWAYS, OFFICE)
    ]


@dataclass(frozen=True, slots=True)
class Account:
    """An account as it is on any server: as JWT (`authority`) or in a configuration (`external_account`)."""

    name: str
    overheard_by_others: tuple[str, ...]
    """The subjects on which another account hears what is said here."""
    answers: tuple[Service, ...]
    overhears: tuple[Overheard, ...]
    asks: tuple[Service, ...]
    most_connections: int | None
    most_leaves: int


def described(org: Org, name: str) -> Account:
    """One of the company's accounts, by its name in `ACCOUNTS`."""
    heard = overheard(org)
    return Account(
        name,
        tuple(dict.fromkeys(stream.subject for stream in heard if stream.said_in == name)),
        tuple(exported(org, name)),
        tuple(stream for stream in heard if stream.heard_in == name),
        tuple(services(org, name)),
        most_connections(org, name),
        most_leaves(org, name),
    )


def _of_guests(subject: str, by: str) -> Service:
    return Service(subject, subject, within_s=MAX_WAIT_S + _MARGIN_S, by=by)


def _method(method: str) -> Service:
    local = method
    for number in range(method.count("*")):
        local = local.replace("*", f"${number + 1}", 1)
    return Service(f"{SERVER_API}.{method}", f"{API_PREFIX}.{local}", method in _MANY)
