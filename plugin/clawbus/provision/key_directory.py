"""The public keys that members sign with, published where every node can read them (the stream KEYS).

`{"v","key","former"}` on `<company>.keys.<member>.provisioner`: who has left has no key. A key that counts no more
stays known for what the server had stored before: the record of what was done must not change with it.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from clawbus.bus import Bus
from clawbus.bus.identity import agent_key, load_or_create
from clawbus.bus.verifier import PUBLISHER
from clawbus.org import EXTERNAL, STEWARD, Org
from clawbus.provision import remote_keys as elsewhere
from clawbus.settings import Home
from clawbus.wire.channels import KEYS
from clawbus.wire.envelope import now
from clawbus.wire.subjects import Subjects, new_message_id

log = logging.getLogger(__name__)
_FORMER = 8


def member_keys(home: Home, org: Org) -> dict[str, str]:
    """The public key of each member. A private one that is missing is made here, unless its member lives elsewhere.

    An agent that lives on another machine has its public key in `keys/agent-<id>.pub`. Raises InvalidInput.
    """
    steward = load_or_create(STEWARD, home.key(STEWARD)).public_key
    found = {STEWARD: steward, EXTERNAL: steward}  # the steward signs what it has translated for the guests
    found |= {human.id: load_or_create(human.id, home.key(f"me-{human.id}")).public_key for human in org.humans}
    there = elsewhere.names(org)
    for name in (agent.id for agent in org.agents):
        seed = home.key(agent_key(name))
        key = elsewhere.public_key(home, seed.stem) if seed.stem in there else load_or_create(name, seed).public_key
        if key is not None:  # its machine has not joined yet
            found[name] = key
    return found


async def publish_keys(bus: Bus, org: Org, home: Home) -> None:
    """Bring KEYS to what the members' keys are. Changes only what differs. Raises BusAway or Refused."""
    subjects, wanted = Subjects(org.company), member_keys(home, org)
    have: dict[str, dict[str, Any]] = {}
    for stored in await bus.stored(KEYS, subjects.everything("keys")):
        have[subjects.parse(stored.subject).tokens["member"]] = json.loads(stored.data)
    for member in sorted({*wanted, *have}):
        before, key = have.get(member, {}), wanted.get(member)
        if member not in have or before.get("key") != key:
            await bus.publish(
                subjects.build("keys", PUBLISHER, member=member),
                json.dumps({"v": 1, "key": key, "former": _former(before)}).encode(),
                msg_id=new_message_id(PUBLISHER),
            )
            log.info("the key of %s is %s", member, "published" if key else "no more")
        if key is None:  # it has left: what it signed with signs nothing any more
            home.key(agent_key(member)).unlink(missing_ok=True)


def _former(before: dict[str, Any]) -> list[dict[str, str]]:
    former: list[dict[str, str]] = before.get("former", [])
    if before.get("key"):
        former = [*former, {"key": before["key"], "until": now().isoformat()}]
    return former[-_FORMER:]
