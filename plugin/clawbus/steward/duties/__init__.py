"""The duties of the company, one in each file of this folder. A new file is found by itself."""

from __future__ import annotations

import importlib
import pkgutil

from clawbus.steward.duty import Duty


def _duty_of(module_name: str) -> type[Duty]:
    """The one subclass of Duty that a file defines. Raises ValueError if it defines none, or several."""
    module = importlib.import_module(f"{__name__}.{module_name}")
    values = (value for value in vars(module).values() if isinstance(value, type) and issubclass(value, Duty))
    (duty,) = (value for value in values if value.__module__ == module.__name__)
    return duty


DUTIES: tuple[type[Duty], ...] = tuple(_duty_of(module.name) for module in pkgutil.iter_modules(__path__))
"""By the names of their files."""
