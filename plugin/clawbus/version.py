"""The release, in one place: what the manifest, the roster and `--version` say."""

__version__ = "0.1.0"
