"""The names of the durable consumers that `provision` makes and `bus` reads."""

from __future__ import annotations

STEWARD_READER = "steward"
"""The durable consumer that all stewards share on each stream that they read."""


def gateway_reader(gateway: str) -> str:
    """The durable consumer of a gateway on INBOX, on CTL and on BCAST."""
    return f"gw-{gateway}"


def person_reader(person: str) -> str:
    """The durable consumer of a person on INBOX, which `clawbus inbox` reads."""
    return f"me-{person}"


def task_durable(gateway: str, priority: str) -> str:
    """The durable consumer of a gateway on TASKS: one a priority, since a consumer does not order by filter."""
    return f"gw-{gateway}-{priority}"


def group_durable(group: str, priority: str) -> str:
    """The durable consumer on TASKS that the members of a team or pool share, over all gateways."""
    return f"grp-{group}-{priority}"
