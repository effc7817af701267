"""Who is there: what nodes and programs say of their agents, and what is heard of all. No model is involved."""

from clawbus.presence.roster import ASK, PERIOD_S, Roster, Unwell, remedy
from clawbus.presence.speaking import Presence

__all__ = ["ASK", "PERIOD_S", "Presence", "Roster", "Unwell", "remedy"]
