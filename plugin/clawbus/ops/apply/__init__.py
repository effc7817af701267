"""A running company whose org.toml has changed: the preview of the change, and the change itself (`apply`).

The company's processes are started, ended and restarted by `ops.up`.
"""

from clawbus.ops.apply.apply import apply_bus
from clawbus.ops.apply.backlog import Waiting, backlog
from clawbus.ops.apply.preview import Change, plan

__all__ = ["Change", "Waiting", "apply_bus", "backlog", "plan"]
