"""What agents may not do while people have stopped the company: send. Reading, acknowledging and cancelling go on."""

from __future__ import annotations

from clawbus.errors import Refused
from clawbus.node.tools.params import NatsInbox, NatsPub, NatsRequest, NatsSpawn, NatsTasks, Params
from clawbus.tasks.halt_orders import ALL, Order


def check(order: Order | None, asked: Params) -> None:
    """Raises Refused if a call would send something, and its agent is stopped. `order`: what stands for the agent.

    A paused agent finishes its turn, so it may send; and as long as nothing is known, what is sent waits for the bus.
    """
    if order is None or order.state != "stopped" or not sends(asked):
        return
    resume = f"clawbus resume {'--all' if order.target == ALL else order.target}"
    raise Refused(
        f"{order}; nothing was sent",
        f"Do not try again: say so, and end your turn. Only a person can end this (`{resume}`). Reading still works.",
    )


def sends(asked: Params) -> bool:
    """Whether a call says something to others; reading, acknowledging and cancelling do not."""
    if isinstance(asked, NatsInbox):
        return asked.action == "answer"
    if isinstance(asked, NatsTasks):
        return asked.action == "steer"
    return isinstance(asked, NatsPub | NatsRequest | NatsSpawn)
