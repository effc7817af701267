"""Mail, broadcasts, results and events: all that comes in for the agents of a gateway and goes out from them."""

from clawbus.node.mailbox.announcer import Announcer
from clawbus.node.mailbox.attachments import Attachments
from clawbus.node.mailbox.broadcast_handler import BroadcastHandler
from clawbus.node.mailbox.budget_gate import BudgetGate
from clawbus.node.mailbox.halted_sessions import HaltedSessions
from clawbus.node.mailbox.inbox import Inbox
from clawbus.node.mailbox.mail_handler import MailHandler
from clawbus.node.mailbox.mail_turns import MailTurns
from clawbus.node.mailbox.outbox import Outbox
from clawbus.node.mailbox.rate_limits import MailBounds, RateLimits
from clawbus.node.mailbox.session_delivery import SessionDelivery, TurnPermit

__all__ = [
    "Announcer",
    "Attachments",
    "BroadcastHandler",
    "BudgetGate",
    "HaltedSessions",
    "Inbox",
    "MailBounds",
    "MailHandler",
    "MailTurns",
    "Outbox",
    "RateLimits",
    "SessionDelivery",
    "TurnPermit",
]
