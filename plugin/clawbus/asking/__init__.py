"""What a person of the company does on the bus: no model in the middle, no node needed on this side."""

from clawbus.asking.person import Person

__all__ = ["Person"]
