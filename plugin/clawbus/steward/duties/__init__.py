"""The duties of the company, each in a file of its own. To add one, write it and name it here."""

from __future__ import annotations

from clawbus.steward.duties.approvals import Approvals
from clawbus.steward.duties.breaker import Breaker
from clawbus.steward.duties.budget import Budget
from clawbus.steward.duties.chains import Chains
from clawbus.steward.duties.deadletters import DeadLetters
from clawbus.steward.duties.deadlines import Deadlines
from clawbus.steward.duties.escalation import Escalation
from clawbus.steward.duties.forged import Forged
from clawbus.steward.duties.guestkey import GuestKey
from clawbus.steward.duties.guests import Guests
from clawbus.steward.duties.lag import Lag
from clawbus.steward.duties.learning import Learning
from clawbus.steward.duties.meetings import Meetings
from clawbus.steward.duties.oversight import Oversight
from clawbus.steward.duties.reach import Reach
from clawbus.steward.duties.receipts import Receipts
from clawbus.steward.duties.recurring import Recurring
from clawbus.steward.duties.refused import Refused
from clawbus.steward.duties.room import Room
from clawbus.steward.duties.unwell import GatewayUnwell
from clawbus.steward.duty import Duty

DUTIES: tuple[type[Duty], ...] = (
    Approvals,
    Breaker,
    Budget,
    Chains,
    DeadLetters,
    Deadlines,
    Escalation,
    Forged,
    GatewayUnwell,
    GuestKey,
    Guests,
    Lag,
    Learning,
    Meetings,
    Oversight,
    Reach,
    Receipts,
    Recurring,
    Refused,
    Room,
)
