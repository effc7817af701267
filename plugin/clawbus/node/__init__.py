"""The node: the long-lived process that puts one gateway on the bus."""

from clawbus.node.node import Node

__all__ = ["Node"]
