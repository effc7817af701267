"""The duties of the company, each in a file of its own. To add one, write it and name it here."""

from __future__ import annotations

from clawbus.steward.duties.approvals import Approvals
from clawbus.steward.duties.breakers import Breaker
from clawbus.steward.duties.budget import Budget
from clawbus.steward.duties.chains import Chains
from clawbus.steward.duties.dead_letters import DeadLetters
from clawbus.steward.duties.deadlines import Deadlines
from clawbus.steward.duties.escalation import Escalation
from clawbus.steward.duties.forged_messages import Forged
from clawbus.steward.duties.guest_credentials import GuestKey
from clawbus.steward.duties.guests import Guests
from clawbus.steward.duties.lag import Lag
from clawbus.steward.duties.learning import Learning
from clawbus.steward.duties.meetings import Meetings
from clawbus.steward.duties.oversight import Oversight
from clawbus.steward.duties.person_notifications import Reach
from clawbus.steward.duties.receipts import Receipts
from clawbus.steward.duties.recurring import Recurring
from clawbus.steward.duties.server_refusals import Refused
from clawbus.steward.duties.stream_capacity import Room
from clawbus.steward.duties.unfit_agents import GatewayUnwell
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
