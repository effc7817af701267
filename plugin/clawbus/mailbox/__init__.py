"""What comes in for the agents of a gateway and what goes out from them: mail, results, events."""

from clawbus.mailbox.announce import Announcer
from clawbus.mailbox.outbox import Outbox
from clawbus.mailbox.reader import Reader

__all__ = ["Announcer", "Outbox", "Reader"]
