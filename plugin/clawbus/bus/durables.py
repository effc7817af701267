"""Names of durable consumers: what `provision` makes and `bus` reads."""

from __future__ import annotations

STEWARD_READER = "steward"
"""The durable that all stewards share on each stream that they read."""


def gateway_reader(gateway: str) -> str:
    """The durable of a gateway on INBOX, on CTL and on BCAST."""
    return f"gw-{gateway}"


def person_reader(person: str) -> str:
    """The durable of a person on INBOX: `clawbus inbox` reads it."""
    return f"me-{person}"


def task_durable(gateway: str, priority: str) -> str:
    """The durable of a gateway on TASKS: one per priority, since a consumer does not order by filter."""
    return f"gw-{gateway}-{priority}"


def group_durable(group: str, priority: str) -> str:
    """The durable on TASKS that the members of a team or pool share, whatever their gateways."""
    return f"grp-{group}-{priority}"
