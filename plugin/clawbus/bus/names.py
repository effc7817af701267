"""Names of streams and durable consumers: what `provision` makes and `bus` reads."""

from __future__ import annotations

TASKS = "TASKS"
INBOX = "INBOX"
CTL = "CTL"
ENDS = "ENDS"
EVENTS = "EVENTS"


def gateway_reader(gateway: str) -> str:
    """The durable of a gateway on INBOX and on CTL."""
    return f"gw-{gateway}"


def person_reader(person: str) -> str:
    """The durable of a person on INBOX: `clawbus inbox` reads it."""
    return f"me-{person}"


def task_durable(gateway: str, priority: str) -> str:
    """The durable of a gateway on TASKS: one per priority, since a consumer does not order by filter."""
    return f"gw-{gateway}-{priority}"
