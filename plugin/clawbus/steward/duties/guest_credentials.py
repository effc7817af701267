"""The guests' credentials: every other process renews its own, but a plain client cannot.

A steward on the company's own machine writes new credentials into their file in time. A client reads the file when it
connects again.
"""

from __future__ import annotations

from typing import ClassVar

from clawbus.provision.authority import Authority
from clawbus.provision.credentials import credentials
from clawbus.settings import Home
from clawbus.steward.duty import Duty
from clawbus.tasks.guests import GUEST, guest_subjects


class GuestCredentials(Duty):
    """`provision.credentials` writes the file anew when half of its life has passed."""

    rule: ClassVar[str] = "guestkey"
    period_s: ClassVar[float | None] = 4.0  # org.toml allows a life of 10 s

    async def tick(self) -> None:
        home = Home(self.context.folder / ".clawbus")
        if guest_subjects(self.context.org) and Authority(home).is_here:
            credentials(home, self.context.org, GUEST)
