"""The bus: one connection to nats-server, what is published, pulled and ended over it.

The only package besides `provision` that imports nats. Its exceptions become ours here.
"""

from clawbus.bus.connection import Bus
from clawbus.bus.ends import End, Ends
from clawbus.bus.names import CTL, ENDS, EVENTS, INBOX, TASKS, gateway_reader, person_reader, task_durable
from clawbus.bus.pull import Pull, fetch_now
from clawbus.bus.take import Taker
from clawbus.bus.wire import Ack, Delivery, Message, Stored

__all__ = [
    "CTL",
    "ENDS",
    "EVENTS",
    "INBOX",
    "TASKS",
    "Ack",
    "Bus",
    "Delivery",
    "End",
    "Ends",
    "Message",
    "Pull",
    "Stored",
    "Taker",
    "fetch_now",
    "gateway_reader",
    "person_reader",
    "task_durable",
]
