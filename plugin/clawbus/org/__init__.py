"""The company, as its org.toml says: read, checked whole, never guessed."""

from clawbus.org.bus_config import BusConfig
from clawbus.org.load import load, load_text, parse
from clawbus.org.members import EXTERNAL, STEWARD, Agent, Gateway, Human, Pool, Subscription, Team
from clawbus.org.mistakes import Mistake, OrgMistakes
from clawbus.org.org import Org
from clawbus.org.policies import Edge, Learning, Oversight, Policies, Recurring

__all__ = [
    "EXTERNAL",
    "STEWARD",
    "Agent",
    "BusConfig",
    "Edge",
    "Gateway",
    "Human",
    "Learning",
    "Mistake",
    "Org",
    "OrgMistakes",
    "Oversight",
    "Policies",
    "Pool",
    "Recurring",
    "Subscription",
    "Team",
    "load",
    "load_text",
    "parse",
]
