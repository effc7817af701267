"""What comes in for the agents of a gateway and what goes out from them: mail, broadcasts, results, events."""

from clawbus.mailbox.announce import Announcer
from clawbus.mailbox.bringing import Bringer
from clawbus.mailbox.broadcasts import Broadcasts
from clawbus.mailbox.cuts import Cuts
from clawbus.mailbox.dead import DeadLetters
from clawbus.mailbox.files import Files
from clawbus.mailbox.inbox import Inbox
from clawbus.mailbox.letters import NewMessage, make_answer, make_message
from clawbus.mailbox.outbox import Outbox
from clawbus.mailbox.pace import MailBounds, Pace
from clawbus.mailbox.reader import Reader
from clawbus.mailbox.spending import Reserving
from clawbus.mailbox.spilled import Spilled, speakers_of
from clawbus.mailbox.waker import Waker

__all__ = [
    "Announcer",
    "Bringer",
    "Broadcasts",
    "Cuts",
    "DeadLetters",
    "Files",
    "Inbox",
    "MailBounds",
    "NewMessage",
    "Outbox",
    "Pace",
    "Reader",
    "Reserving",
    "Spilled",
    "Waker",
    "make_answer",
    "make_message",
    "speakers_of",
]
