"""The version: the manifest, the roster and `--version` all take it from here."""

__version__ = "0.1.0"
