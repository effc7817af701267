"""What comes in for the agents of a gateway and what goes out from them: mail, broadcasts, results, events."""

from clawbus.node.mailbox.announcer import Announcer
from clawbus.node.mailbox.attachments import Files
from clawbus.node.mailbox.broadcast_handler import Broadcasts
from clawbus.node.mailbox.budget_gate import Reserving
from clawbus.node.mailbox.halted_sessions import Cuts
from clawbus.node.mailbox.inbox import Inbox
from clawbus.node.mailbox.leaked_keys import Spilled, speakers_of
from clawbus.node.mailbox.mail_handler import Reader
from clawbus.node.mailbox.mail_turns import Waker
from clawbus.node.mailbox.outbox import Outbox
from clawbus.node.mailbox.rate_limits import MailBounds, Pace
from clawbus.node.mailbox.session_delivery import Bringer

__all__ = [
    "Announcer",
    "Bringer",
    "Broadcasts",
    "Cuts",
    "Files",
    "Inbox",
    "MailBounds",
    "Outbox",
    "Pace",
    "Reader",
    "Reserving",
    "Spilled",
    "Waker",
    "speakers_of",
]
