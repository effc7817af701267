"""A running company whose org.toml has changed: what is to change (`planning`), and the changing of it (`applying`).

Its processes are `running`'s: there they are started, ended and restarted.
"""

from clawbus.change.applying import apply_bus
from clawbus.change.backlog import Left, backlog
from clawbus.change.planning import Change, plan

__all__ = ["Change", "Left", "apply_bus", "backlog", "plan"]
