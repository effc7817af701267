"""The bus: one connection to nats-server, what is published, pulled and ended over it.

The only package besides `provision` that imports nats. Its exceptions become ours here.
"""

from clawbus.bus.clock import Clock
from clawbus.bus.connection import Bus
from clawbus.bus.ends import End, Ends
from clawbus.bus.kept import Kept
from clawbus.bus.last import last_message
from clawbus.bus.names import STEWARD_READER, gateway_reader, group_durable, person_reader, task_durable
from clawbus.bus.pull import Pull, fetch_now
from clawbus.bus.spend import Spend, spend_of
from clawbus.bus.take import Taker
from clawbus.bus.verifier import Received, Verifier
from clawbus.bus.wire import Ack, Delivery, Message, Stored, handed_out, stored_seq

__all__ = [
    "STEWARD_READER",
    "Ack",
    "Bus",
    "Clock",
    "Delivery",
    "End",
    "Ends",
    "Kept",
    "Message",
    "Pull",
    "Received",
    "Spend",
    "Stored",
    "Taker",
    "Verifier",
    "fetch_now",
    "gateway_reader",
    "group_durable",
    "handed_out",
    "last_message",
    "person_reader",
    "spend_of",
    "stored_seq",
    "task_durable",
]
