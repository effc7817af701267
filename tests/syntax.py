"""The syntax tree of a file of the product, for tests that read its source."""

from __future__ import annotations

import ast
import gc
from pathlib import Path


def parsed(path: Path) -> ast.Module:
    """The tree of a Python file."""
    gc.disable()  # CPython 3.11: a collection in the middle of ast.parse can end it with a SystemError
    try:
        return ast.parse(path.read_text())
    finally:
        gc.enable()
