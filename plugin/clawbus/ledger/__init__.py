"""What a node must still know after its own crash: SQLite, one file per gateway.

Rows are facts of this node only. What two parties must agree on (the end of a task) is decided by the server.
"""

from clawbus.ledger.cut import Cut
from clawbus.ledger.db import Ledger
from clawbus.ledger.descents import Descent
from clawbus.ledger.mail import Mail
from clawbus.ledger.outbox import Outgoing
from clawbus.ledger.runs import Run
from clawbus.ledger.sent import Sent
from clawbus.ledger.steers import Steer
from clawbus.ledger.wakes import Wake

__all__ = ["Cut", "Descent", "Ledger", "Mail", "Outgoing", "Run", "Sent", "Steer", "Wake"]
