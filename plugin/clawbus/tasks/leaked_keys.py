"""A secret key in what somebody says here: people hear of it by a dead letter, which names the key and the remedy."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from clawbus.bus.identity import AGENT_KEY, load_or_create
from clawbus.errors import InvalidInput
from clawbus.org import STEWARD, Org
from clawbus.settings import Home
from clawbus.tasks.dead_letters import DeadLetters
from clawbus.wire.redaction import SEED, Leak

_RENEWED = ("gw-", "me-", "steward", "guest")
"""The keys that `clawbus apply --new-key` renews. All others are the company's own."""


class LeakedKeys:
    """Writes one dead letter for each sender and key, however often the sender says it. As `Bus.on_leak`."""

    def __init__(self, home: Home, org: Org, dead: DeadLetters, speakers: Sequence[str]) -> None:
        """`speakers`: who may write letters under this bus's key; another's is written by the last of them."""
        self._home = home
        self._org = org
        self._dead = dead
        self._speakers = speakers

    async def __call__(self, subject: str, found: list[Leak]) -> None:
        """Raises BusAway: then what held the key did not go out either."""
        sender = subject.rpartition(".")[2]
        by = sender if sender in self._speakers else self._speakers[-1]
        for leak in found:
            await self._dead.leaked_keys(by, subject, f"{sender}\n{leak.mark}", self._reason(sender, leak))

    def _reason(self, sender: str, leak: Leak) -> str:
        if leak.kind != SEED:
            return (
                f"{sender} has said what looks like a {leak.kind} (in PEM, or of NATS); it was sent as it is. "
                "If it is real, make it anew, and find out how the agent came to it."
            )
        name = self._name_of(leak.public)
        whose = (
            f"that of {name}" if name else f"with the public part {leak.public or '(a curve key)'}, none of ours here"
        )
        return f"{sender} has said a secret key, {whose}; it was taken out before it was sent. {self._remedy(name)}"

    def _name_of(self, public: str) -> str:
        for file in (*self._home.root.glob("keys/*.nk"), *self._home.root.glob("authority/*.nk")):
            with contextlib.suppress(InvalidInput, OSError):
                if public and load_or_create(file.stem, file).public_key == public:
                    return _named(file)
        return ""

    def _remedy(self, name: str) -> str:
        if name.startswith(AGENT_KEY):
            agent = name.removeprefix(AGENT_KEY)
            name = next((f"gw-{member.gateway}" for member in self._org.agents if member.id == agent), "")
        if not name:
            return "Whoever it belongs to has to make it anew."
        if not name.startswith(_RENEWED):
            return "Whoever has it can be anybody: make the company anew (docs/security.md)."
        if self._org.bus.url is None and (self._home.root / "authority").exists():
            return f"It may be known elsewhere: make it anew with `clawbus apply --new-key {name}`."
        return f"It may be known elsewhere: have {name} made anew on the company's own machine (docs/security.md)."


def _named(file: Path) -> str:
    return file.stem if file.parent.name == "keys" else f"authority/{file.stem}"


def speakers_of(signers: Sequence[str]) -> list[str]:
    """The signers here that may write dead letters: agents, or the steward, which writes for guests, too."""
    return [STEWARD] if STEWARD in signers else list(signers)
