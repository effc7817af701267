"""A running company whose org.toml has changed: what is to change (`planning`), and the changing of it (`applying`).

Its processes are `running`'s: there they are started, ended and restarted.
"""

from clawbus.ops.apply.apply import apply_bus
from clawbus.ops.apply.backlog import Waiting, backlog
from clawbus.ops.apply.plan import Change, plan

__all__ = ["Change", "Waiting", "apply_bus", "backlog", "plan"]
