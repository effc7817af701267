"""The memory of a node for the time after its own crash: SQLite, one file per gateway.

Rows are facts of this node only. What two parties must agree on (the end of a task) is decided by the server.
"""

from clawbus.node.ledger.db import Ledger
from clawbus.node.ledger.interrupted import InterruptedRun
from clawbus.node.ledger.mail import Mail
from clawbus.node.ledger.outgoing import Outgoing
from clawbus.node.ledger.runs import Run
from clawbus.node.ledger.sent import Sent, SentKind
from clawbus.node.ledger.spawned_sessions import SpawnedSession
from clawbus.node.ledger.steers import Steer
from clawbus.node.ledger.wakes import Wake

__all__ = ["InterruptedRun", "Ledger", "Mail", "Outgoing", "Run", "Sent", "SentKind", "SpawnedSession", "Steer", "Wake"]
