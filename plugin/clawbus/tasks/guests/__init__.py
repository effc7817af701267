"""The conventions of the published examples: which subjects a plain client uses there, and what its JSON means."""

from clawbus.tasks.guests.addresses import Place, place
from clawbus.tasks.guests.decode import MAX_WAIT_S, Words, read
from clawbus.tasks.guests.subjects import ANSWERS, GUEST, guest_subjects

__all__ = ["ANSWERS", "GUEST", "MAX_WAIT_S", "Place", "Words", "guest_subjects", "place", "read"]
