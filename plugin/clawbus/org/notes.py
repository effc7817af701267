"""Notes of `clawbus check`: what an org.toml may say and a person may not have meant."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from clawbus.org.org import Org

PORTS_APART = 120
"""Each OpenClaw gateway reaches 110 ports beyond its own (openclaw's docs/gateway/multiple-gateways)."""


def notes(org: Org) -> list[str]:
    """A sentence for each."""
    return [*_groups(org), *_gateways(org)]


def _groups(org: Org) -> Iterator[str]:
    for pool in org.pools:
        roles = sorted({org.agent(member).role for member in pool.members})
        if len(roles) > 1:
            yield f"pool {pool.id} mixes roles ({', '.join(roles)}): any member may be handed any of its tasks"
    for team in org.teams:
        if not org.members(team.id):
            yield f"team {team.id} has no member: nothing can be sent to it"


def _gateways(org: Org) -> Iterator[str]:
    for gateway in org.gateways:
        if not org.agents_of(gateway.id):
            yield f"gateway {gateway.id} has no agent"
        if not gateway.own and not gateway.is_program and gateway.token_file is None:
            place = f".clawbus/gateways/{gateway.id}/token"
            yield f"gateway {gateway.id} names no token_file: its token is looked for in {place}"
    claws = sorted(
        (home for home in org.gateways if not home.is_program and not home.elsewhere), key=lambda home: home.port
    )
    for lower, higher in itertools.pairwise(claws):
        if higher.port - lower.port < PORTS_APART:
            yield (
                f"the ports of gateways {lower.id} ({lower.port}) and {higher.id} ({higher.port}) are less than "
                f"{PORTS_APART} apart: OpenClaw's own ports may collide if both run on one machine"
            )
