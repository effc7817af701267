"""Checks between the entries of an org.toml. Each is a function of the draft; to add one, name it in `_CHECKS`.

The checks look at the file as it is written, not at models, so that they find the mistakes among entries that can be
read even while others cannot. A mistake that a field's own check has found already is not reported again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from clawbus.org.checks.draft import Draft
from clawbus.org.checks.hierarchy import superiors
from clawbus.org.checks.homes import gateways, models, ports, roles
from clawbus.org.checks.ids import ids
from clawbus.org.checks.network import network
from clawbus.org.checks.reach import alerts, channels, oversight
from clawbus.org.checks.work import edges, learning, pools, recurring
from clawbus.org.mistakes import Wrong

_CHECKS = (
    ids,
    superiors,
    roles,
    gateways,
    ports,
    network,
    models,
    pools,
    edges,
    recurring,
    learning,
    oversight,
    alerts,
    channels,
)


def contradictions(data: Mapping[str, Any]) -> Iterator[Wrong]:
    """All of them, for a file as tomllib has read it."""
    draft = Draft(data)
    for check in _CHECKS:
        yield from check(draft)
