"""The conventions of the published examples: which subjects a plain client uses there, and what its JSON means."""

from clawbus.dialects.heard import GUEST, heard
from clawbus.dialects.places import Place, place
from clawbus.dialects.reading import Words, read

__all__ = ["GUEST", "Place", "Words", "heard", "place", "read"]
