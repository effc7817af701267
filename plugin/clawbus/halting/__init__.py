"""What people have stopped or paused, as every process of the company reads it (ADR 21)."""

from clawbus.halting.halt import Halt
from clawbus.halting.orders import ALL, Order, State, encode

__all__ = ["ALL", "Halt", "Order", "State", "encode"]
