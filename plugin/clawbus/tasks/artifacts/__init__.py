"""Artifacts: the content of a file on the bus by its hash, a reference in the envelope, a checked copy at the receiver.

Foreign addresses (r2://…, https://…) stay references. Nobody here fetches them.
"""

from clawbus.tasks.artifacts.files import MAX_FILES, foreign, read_inside, safe_name
from clawbus.tasks.artifacts.shelf import Placed, Shelf
from clawbus.tasks.artifacts.store import MAX_FILE_BYTES, Store

__all__ = ["MAX_FILES", "MAX_FILE_BYTES", "Placed", "Shelf", "Store", "foreign", "read_inside", "safe_name"]
