"""The duties of the company, each in a file of its own. To add one, write it and name it here."""

from __future__ import annotations

from clawbus.steward.duties.approvals import Approvals
from clawbus.steward.duties.breakers import Breakers
from clawbus.steward.duties.budget import Budget
from clawbus.steward.duties.chains import Chains
from clawbus.steward.duties.dead_letters import DeadLetters
from clawbus.steward.duties.deadlines import Deadlines
from clawbus.steward.duties.escalation import Escalation
from clawbus.steward.duties.forged_messages import ForgedMessages
from clawbus.steward.duties.guest_credentials import GuestCredentials
from clawbus.steward.duties.guests import Guests
from clawbus.steward.duties.lag import Lag
from clawbus.steward.duties.learning import Learning
from clawbus.steward.duties.meetings import Meetings
from clawbus.steward.duties.oversight import Oversight
from clawbus.steward.duties.person_notifications import PersonNotifications
from clawbus.steward.duties.receipts import Receipts
from clawbus.steward.duties.recurring import Recurring
from clawbus.steward.duties.server_refusals import ServerRefusals
from clawbus.steward.duties.stream_capacity import StreamCapacity
from clawbus.steward.duties.unfit_agents import UnfitAgents
from clawbus.steward.duty import Duty

DUTIES: tuple[type[Duty], ...] = (
    Approvals,
    Breakers,
    Budget,
    Chains,
    DeadLetters,
    Deadlines,
    Escalation,
    ForgedMessages,
    UnfitAgents,
    GuestCredentials,
    Guests,
    Lag,
    Learning,
    Meetings,
    Oversight,
    PersonNotifications,
    Receipts,
    Recurring,
    ServerRefusals,
    StreamCapacity,
)
