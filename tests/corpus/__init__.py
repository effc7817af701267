"""Hostile input, in families: what models, agents and guests may send, and what must not act where it is shown."""

from tests.corpus.hostile import CASES, Case

__all__ = ["CASES", "Case"]
