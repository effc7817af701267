"""A company as a program meets it: the org file that was read, where its things are, a connection."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from clawbus.bus import Bus, Ends
from clawbus.errors import NotFound
from clawbus.identity import Identity, load_or_create
from clawbus.org import Org, load
from clawbus.settings import Home
from clawbus.subjects import Subjects, check_id
from clawbus.tasks import History

_WAIT_S = 2.0  # a person waits at a terminal; a server that restarts is back well before


@dataclass(frozen=True)
class Company:
    """An org file and the folder `.clawbus` beside it."""

    org: Org
    home: Home
    org_file: Path

    @classmethod
    def open(cls, org_file: Path) -> Company:
        """Raises NotFound or OrgMistakes."""
        return cls(load(org_file), Home.beside(org_file), org_file)

    @property
    def subjects(self) -> Subjects:
        return Subjects(self.org.company)

    def token_file(self, gateway: str) -> Path:
        """Where a gateway's token lies: as org.toml says, or where `clawbus up` keeps that of an own gateway."""
        said = self.org.gateway(gateway).token_file
        return self.home.root.parent / said if said else self.home.root / "gateways" / gateway / "token"

    def identity(self, key_name: str) -> Identity:
        """The key of the provisioner, a gateway (`gw-hq`) or a person (`me-owner`), made where it is missing."""
        return load_or_create(key_name, self.home.key(key_name))

    def speaker(self, person: str | None) -> str:
        """The id of the person that a command speaks as: the first one, unless it is said. Raises NotFound."""
        wanted = person or self.org.humans[0].id
        check_id("--as", wanted)
        if wanted not in self.org.people:
            raise NotFound(
                f"--as = {wanted!r}: no such person in {self.org.company}",
                f"There are: {', '.join(sorted(self.org.people))}.",
            )
        return wanted

    @contextlib.asynccontextmanager
    async def connect(self, key_name: str) -> AsyncIterator[Bus]:
        """A connection under one of the company's keys. Raises BusAway or Refused."""
        async with Bus.connect(self.org.url, self.identity(key_name), f"clawbus {key_name}", _WAIT_S) as bus:
            yield bus

    @contextlib.asynccontextmanager
    async def connect_person(self, person: str | None) -> AsyncIterator[tuple[Bus, str]]:
        """A connection as a person of the company, and his id."""
        me = self.speaker(person)
        async with self.connect(f"me-{me}") as bus:
            yield bus, me

    def ends(self, bus: Bus) -> Ends:
        return Ends(bus, self.subjects, self.org.may_end, self.org.may_take)

    def history(self, bus: Bus) -> History:
        return History(bus, self.org)
