"""A company on this machine: its org file, the places of its files, its connections."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

from clawbus.bus import Bus, Message
from clawbus.bus.identity import Identity, agent_key
from clawbus.bus.signing import Signer
from clawbus.errors import NotFound, Refused
from clawbus.org import EXTERNAL, STEWARD, Gateway, Org, load
from clawbus.provision.credential_service import renew
from clawbus.provision.credentials import credentials
from clawbus.provision.joined_machine import JoinedMachine, read
from clawbus.provision.tls import trusted
from clawbus.retry import pause
from clawbus.settings import Home, leave_no_dump
from clawbus.tasks import History
from clawbus.tasks.dead_letters import DeadLetters
from clawbus.tasks.ends import Ends
from clawbus.tasks.leaked_keys import LeakedKeys, speakers_of
from clawbus.tasks.roster import ASK, PERIOD_S, Roster
from clawbus.wire.subjects import Subjects, check_id

PROVISIONER = "provisioner"
_SHUT_OUT = (
    "This machine was shut out, or was away for longer than its credentials live. Let it in again: `clawbus invite` on "
    "the company's own machine, then `clawbus join CODE` here, in an empty folder."
)
_ROLL_S = 0.6
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

    @property
    def here(self) -> JoinedMachine | None:
        """The record of a machine that has joined; None on the company's own machine. Raises InvalidInput."""
        return read(self.home)

    @property
    def gateways_here(self) -> tuple[Gateway, ...]:
        """The gateways of this machine."""
        if (here := self.here) is not None:
            return tuple(gateway for gateway in self.org.gateways if gateway.id in here.served)
        return tuple(gateway for gateway in self.org.gateways if not gateway.elsewhere)

    @property
    def url(self) -> str:
        """The address at which this machine reaches the bus: its leaf's, if it has one."""
        return here.dialled if (here := self.here) is not None else self.org.url

    @property
    def ca_file(self) -> Path | None:
        """The one authority that this machine trusts on the bus; None where there is no TLS of ours."""
        if (here := self.here) is None:
            return trusted(self.home, self.org)
        return None if here.leaf else self.home.root / here.ca

    @property
    def store(self) -> Path | None:
        """The folder in which the company's own server keeps the streams; None if that is not on this machine."""
        return self.home.root if self.org.bus.url is None and self.here is None else None

    def refuse_elsewhere(self, what: str) -> None:
        """Raises Refused on a machine that has joined, for what only the company's own can do."""
        if self.here is not None:
            raise Refused(f"this machine has joined {self.org.company}: {what} on the company's own machine")

    def token_file(self, gateway: str) -> Path:
        """The file of a gateway's token: as org.toml says, or as `clawbus up` keeps it for an own gateway."""
        said = self.org.gateway(gateway).token_file
        return self.home.root.parent / said if said else self.home.root / "gateways" / gateway / "token"

    def identity(self, key_name: str) -> Identity:
        """The key of the provisioner, a gateway (`gw-hq`) or a person (`me-owner`), made where it is missing.

        With credentials that are good for a while, where the server wants them and this machine can issue them. A leaf
        wants none: it shows them to the hub itself.
        """
        me = credentials(self.home, self.org, key_name)
        return replace(me, creds_file=None) if (here := self.here) is not None and here.leaf else me

    def signers(self, key_name: str) -> dict[str, Signer]:
        """The signers under a key of the company, by id: agents of a gateway, a person, the steward and its guests.

        The provisioner speaks as the steward, for who has left.

        What an agent signs with is made here, unless only its public key is: then it lives on another machine.
        """
        kind, _, name = key_name.partition("-")
        keys: dict[str, str] = {}
        if key_name in (STEWARD, PROVISIONER):
            keys = {STEWARD: STEWARD} | ({EXTERNAL: STEWARD} if key_name == STEWARD else {})
        elif kind == "me":
            keys = {name: key_name}
        elif kind == "gw":
            keys = {agent.id: agent_key(agent.id) for agent in self.org.agents_of(name)}
        found = {who: self.home.key(key) for who, key in keys.items()}
        here = {who: seed for who, seed in found.items() if seed.exists() or not seed.with_suffix(".pub").exists()}
        return {who: Signer(self.org.company, who, seed) for who, seed in here.items()}

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
    async def connect(self, key_name: str, label: str = "", wait_s: float | None = _WAIT_S) -> AsyncIterator[Bus]:
        """A connection under one of the company's keys, whose credentials are renewed while it lasts.

        `label`: what the server's monitoring shows. `wait_s`: see `Bus.connect`. Raises BusAway or Refused.
        """
        leave_no_dump()
        me = self.identity(key_name)
        again = functools.partial(renew, self.home, self.org, key_name)
        connecting = Bus.connect(self.url, me, f"clawbus {label or key_name}", wait_s, again, self.ca_file)
        async with contextlib.AsyncExitStack() as stack:
            try:
                bus = await stack.enter_async_context(connecting)
            except Refused as error:
                raise Refused(error.message, _SHUT_OUT if self.here is not None else error.remedy) from None
            bus.signers, bus.store = self.signers(key_name), self.store
            if key_name == STEWARD or (key_name.startswith("gw-") and bus.signers):  # people see it on their screens
                speakers = speakers_of([*bus.signers])
                bus.on_leak = LeakedKeys(self.home, self.org, DeadLetters(bus, self.subjects), speakers)
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


async def who_is_online(bus: Bus, company: Company, person: str | None = None) -> Roster:
    """Ask all nodes to say of their agents whether they are there. Takes 0.6 s at most, less if all answer."""
    roll = company.subjects.build("roll", company.speaker(person))
    return await _roster(bus, company, [agent.id for agent in company.org.agents], _ROLL_S, roll)


async def overheard(bus: Bus, company: Company, agents: list[str]) -> Roster:
    """The roster of these agents, as their nodes speak unasked, for a key that may not ask. Takes a period at most."""
    return await _roster(bus, company, agents, PERIOD_S + 1)


async def _roster(bus: Bus, company: Company, agents: list[str], wait_s: float, roll: str | None = None) -> Roster:
    """The roster once all of `agents` are heard, or after `wait_s`. `roll`: the subject on which to ask them."""
    roster, heard = Roster(company.subjects), asyncio.Event()

    def on_message(message: Message) -> None:
        roster.on_presence(message)
        if roster.has_heard(agents):
            heard.set()

    stop = await bus.listen(company.subjects.everything("presence"), on_message)
    try:
        if roll is not None:
            await bus.tell(roll, ASK)
        await pause(heard, wait_s)
    finally:
        await stop()
    return roster
