"""The conventions of the published examples: which subjects a plain client uses there, and what its JSON means."""

from clawbus.dialects.heard import ANSWERS, GUEST, heard
from clawbus.dialects.places import Place, place
from clawbus.dialects.reading import MAX_WAIT_S, Words, read

__all__ = ["ANSWERS", "GUEST", "MAX_WAIT_S", "Place", "Words", "heard", "place", "read"]
