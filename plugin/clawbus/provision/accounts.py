"""The accounts of a company, and what passes between them.

The streams live in the office's account, with nobody but the provisioner; gateways, people with the steward, and
guests in accounts of their own that import what they need as services. So a request can only be answered to where it
came from: were the streams in the same account, the server's answer to a publish could be aimed at another's inbox,
and would be stored there as if it came from the CEO; a stored message that is asked for, at the list of public keys.
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
"""The channels of which people and stewards hear what is said as it is said."""
_PER_GATEWAY, _BESIDE, _GUESTS = 4, 16, 64
_FOR_PEOPLE = 512


@dataclass(frozen=True, slots=True)
class Service:
    """A subject that an account answers. `local`: what who asks calls it.

    `many`: it answers often. `within_s`: how long an answer may take, where that is longer than the server waits.
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
    """How many may be connected in an account at once; None: no bound.

    A node has one connection, and one that the server has not missed yet while it comes back. So whoever holds a
    gateway's or the guests' key leaves room for people, who stop the company and make stolen keys anew.
    """
    if account == GUESTS:
        return _GUESTS
    return _PER_GATEWAY * len(org.gateways) + _BESIDE if account == GATEWAYS else None


def most_leaves(org: Org, account: str) -> int:
    """How many links of leaves may be open in an account at once: gateways of a leaf have one each, others none."""
    return most_connections(org, account) or 0 if account == GATEWAYS else 0


def room_for_all(org: Org) -> int:
    """How many the company's server lets in, whoever they are: those who are bounded never take the room of people."""
    return sum(most_connections(org, account) or 0 for account in ACCOUNTS) + _FOR_PEOPLE


def credentials_subject(company: str, key: str) -> str:
    """Where the holder of a key asks for credentials that live longer; `key` may be `*`."""
    return f"{company}.creds.{key}"


def services(org: Org, account: str) -> list[Service]:
    """What an account may ask of others: the office; and guests the staff, where a steward hears and answers them."""
    if account == OFFICE:
        return []
    if account == GUESTS:
        return [_of_guests(subject, STAFF) for subject in guest_subjects(org)]
    speakers = ["everyone", "agents"] + (["people", "steward"] if account == STAFF else [])
    methods = [*_API, *(_OF_STAFF if account == STAFF else ())]
    subjects = Subjects(org.company)
    spoken = [subjects.everything(row.name) for row in CHANNELS if row.stream and row.by in speakers]
    named = [*spoken, credentials_subject(org.company, "*"), "$JS.ACK.>"]
    found = [*(Service(one, one) for one in named), *(_method(one) for one in methods)]
    return found + [_of_guests(subject, OFFICE) for subject in guest_subjects(org) if account == STAFF]


def exported(org: Org, account: str) -> list[Service]:
    """What an account answers, whoever asks."""
    asked = (one for other in ACCOUNTS for one in services(org, other) if one.by == account)
    return list({one.subject: one for one in asked}.values())


def overheard(org: Org) -> list[Overheard]:
    """What passes without being asked for: who is there, the question who is, and what is said of tasks.

    Of gateways the staff hears it where they say it: what has come in as a service goes out as no stream.
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


def _of_guests(subject: str, by: str) -> Service:
    return Service(subject, subject, within_s=MAX_WAIT_S + _MARGIN_S, by=by)


def _method(method: str) -> Service:
    local = method
    for number in range(method.count("*")):
        local = local.replace("*", f"${number + 1}", 1)
    return Service(f"{SERVER_API}.{method}", f"{API_PREFIX}.{local}", method in _MANY)
