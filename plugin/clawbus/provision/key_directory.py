"""The public keys that members sign with, published where every node can read them (the stream KEYS).

`{"v","key","former"}` on `<company>.keys.<member>.provisioner`: who has left has no key. A key that counts no more
stays known for what the server had stored before: the record of what was done must not change with it.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from clawbus.bus import Bus
from clawbus.bus.identity import agent_key, load_or_create
from clawbus.bus.verifier import PUBLISHER
from clawbus.org import EXTERNAL, STEWARD, Org
from clawbus.provision import remote_keys
from clawbus.provision.remote_keys import lives_elsewhere
from clawbus.settings import Home
from clawbus.wire.channels import KEYS
from clawbus.wire.envelope import now
from clawbus.wire.subjects import Subjects, new_message_id

log = logging.getLogger(__name__)
_FORMER = 8


def seed_files(home: Home, org: Org) -> dict[str, Path]:
    """The file of the private key of each member, whether it lies there yet."""
    steward = home.key(STEWARD)
    found = {STEWARD: steward, EXTERNAL: steward}  # the steward signs what it has translated for the guests
    found |= {human.id: home.key(f"me-{human.id}") for human in org.humans}
    return found | {agent.id: home.key(agent_key(agent.id)) for agent in org.agents}


def member_keys(home: Home, org: Org) -> dict[str, str]:
    """The public key of each member. A private one that is missing is made here, unless its member lives elsewhere.

    An agent that lives on another machine has its public key in `keys/agent-<id>.pub`. Raises InvalidInput.
    """
    seeds = seed_files(home, org)
    keys = ((member, public_key_of(home, org, member, seed, make=True)) for member, seed in seeds.items())
    return {member: key for member, key in keys if key is not None}


def public_key_of(home: Home, org: Org, member: str, seed: Path, make: bool) -> str | None:
    """The public key of a member; None if its machine has not joined yet; "" if it is to be made, and not `make`."""
    if lives_elsewhere(org, seed.stem):
        return remote_keys.public_key(home, seed.stem)
    return load_or_create(member, seed).public_key if make or seed.exists() else ""


async def published(bus: Bus, org: Org) -> dict[str, dict[str, Any]]:
    """The entry of each member in KEYS. Raises BusAway or Refused."""
    subjects = Subjects(org.company)
    entries = await bus.stored(KEYS, subjects.everything("keys"))
    return {subjects.parse(entry.subject).tokens["member"]: json.loads(entry.data) for entry in entries}


async def publish_key(bus: Bus, org: Org, home: Home, member: str, seed: Path | None, before: dict[str, Any]) -> None:
    """Publish the key of a member, or that it has none any more (`seed` is None). `before`: what KEYS holds of it."""
    key = None if seed is None else public_key_of(home, org, member, seed, make=True)
    if key is None:  # it has left: what it signed with signs nothing any more
        home.key(agent_key(member)).unlink(missing_ok=True)
    await bus.publish(
        Subjects(org.company).build("keys", PUBLISHER, member=member),
        json.dumps({"v": 1, "key": key, "former": _former(before)}).encode(),
        msg_id=new_message_id(PUBLISHER),
    )
    log.info("the key of %s is %s", member, "published" if key else "no more")


def _former(before: dict[str, Any]) -> list[dict[str, str]]:
    former: list[dict[str, str]] = before.get("former", [])
    if before.get("key"):
        former = [*former, {"key": before["key"], "until": now().isoformat()}]
    return former[-_FORMER:]
