"""A handful of calls that no key but the provisioner's may make, tried on the live server: `clawbus doctor`.

They are harmless even where the server lets them pass: what is published names a stream that does not exist and so is
not stored (`Nats-Expected-Stream`), and what is asked of JetStream is asked of subjects and streams that there are not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from clawbus.bus import Bus
from clawbus.errors import BusAway, Forbidden, Refused
from clawbus.org import STEWARD, Org
from clawbus.provision.accounts import API_PREFIX
from clawbus.provision.permissions import PROVISIONER, grant_of
from clawbus.wire.channels import INBOX, TASKS
from clawbus.wire.subjects import Subjects, new_message_id

LABEL = "doctor"
_NOT_STORED = {"Nats-Expected-Stream": "none"}
_ANSWER_S = 2.0


@dataclass(frozen=True, slots=True)
class ForbiddenCall:
    """A call, and what it would do, in words."""

    subject: str
    what: str
    body: bytes = b""


def forbidden_calls(org: Org, key: str, api: str) -> list[ForbiddenCall]:
    """The calls that the holder of a key must not be able to make. `api`: where its account finds JetStream's."""
    subjects, grant = Subjects(org.company), grant_of(org, key)
    tags = grant.tags if grant is not None else {}
    own = {member for tag in ("agent", "person") for member in tags.get(tag, ())}
    members = [*(agent.id for agent in org.agents), *(human.id for human in org.humans)]
    others = [member for member in members if member not in own]
    spoken = [ForbiddenCall(subjects.dm(STEWARD, other), f"speak as {other}") for other in (*others[:1], *others[-1:])]
    return [
        *dict.fromkeys(spoken),
        ForbiddenCall(subjects.build("keys", PROVISIONER, member=STEWARD), "change the list of public keys"),
        # Never without its filter: nats-server 2.15 takes a body that it cannot read for none, and purges all.
        ForbiddenCall(f"{api}.STREAM.PURGE.{TASKS}", "throw tasks away", _json(filter=f"{LABEL}.none")),
        ForbiddenCall(f"{api}.CONSUMER.CREATE.{INBOX}", "make a reader of everybody's mail", _json(stream_name="none")),
        ForbiddenCall(f"{api}.CONSUMER.MSG.NEXT.{INBOX}.{LABEL}", "read another's mail"),
    ]


def _json(**body: str) -> bytes:
    return json.dumps(body).encode()


def tried_keys(org: Org, gateways: list[str]) -> list[str]:
    """One key of each kind: of a gateway that is here, of a person, the steward's."""
    found = [f"gw-{gateway}" for gateway in gateways[:1]]
    return [*found, *([f"me-{org.humans[0].id}"] if org.humans else []), STEWARD]


def tried_by_the_doctor(org: Org, key: str) -> frozenset[str]:
    """The subjects of `forbidden_calls`, by which a refusal is known as one that `clawbus doctor` has asked for."""
    calls = forbidden_calls(org, key, API_PREFIX) if grant_of(org, key) is not None else ()
    return frozenset(call.subject for call in calls)


async def allowed_of_them(bus: Bus, org: Org, key: str) -> list[str]:
    """Try them with this connection's key: what was not refused. Raises BusAway."""
    bus.store = None  # nothing of it is written: a full disk is no reason not to try
    return [call.what for call in forbidden_calls(org, key, bus.identity.api) if not await _is_refused(bus, call)]


async def _is_refused(bus: Bus, one: ForbiddenCall) -> bool:
    try:
        if one.subject.startswith(bus.identity.api):
            await bus.ask(one.subject, one.body, _ANSWER_S)
        else:
            await bus.publish(one.subject, one.body, msg_id=new_message_id(LABEL), headers=_NOT_STORED)
    except Forbidden:
        return True
    except Refused:  # the server has done something about it, and only then said no
        return False
    except BusAway:
        if not bus.up:
            raise  # else nobody answers there, but it was let pass
    return False
