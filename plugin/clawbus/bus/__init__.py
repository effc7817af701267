"""NATS JetStream for the other packages: one connection, publishing, durable consumers, signatures.

No other package imports nats-py. Its exceptions become ours here.
"""

from clawbus.bus.bus import Bus
from clawbus.bus.consumer import Consumer, fetch_now
from clawbus.bus.durables import STEWARD_READER, gateway_reader, group_durable, person_reader, task_durable
from clawbus.bus.messages import Ack, Delivery, Message, Stored, handed_out, stored_seq
from clawbus.bus.server_clock import ServerClock
from clawbus.bus.signed_copy import SignedCopy
from clawbus.bus.task_consumer import TaskConsumer
from clawbus.bus.verifier import Received, Verifier

__all__ = [
    "STEWARD_READER",
    "Ack",
    "Bus",
    "Consumer",
    "Delivery",
    "Message",
    "Received",
    "ServerClock",
    "SignedCopy",
    "Stored",
    "TaskConsumer",
    "Verifier",
    "fetch_now",
    "gateway_reader",
    "group_durable",
    "handed_out",
    "person_reader",
    "stored_seq",
    "task_durable",
]
