"""Org sync: a joined machine keeps org.toml as the company's own machine has it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from clawbus.bus import Bus
from clawbus.bus.identity import agent_key, load_or_create
from clawbus.client.company import Company
from clawbus.errors import Away, ClawbusError, Refused
from clawbus.ops.enrol.registrar_process import digest_of
from clawbus.org import Org, load_text
from clawbus.provision import joined_machine as here
from clawbus.provision.accounts import credentials_subject
from clawbus.provision.credential_service import renew
from clawbus.retry import Backoff
from clawbus.settings import write_secret

log = logging.getLogger(__name__)
EVERY_S = 5.0
_LONGEST_S = 300.0
"""The longest pause between two tries to bring the processes to a change; each try may restart some of them."""
_PATIENCE_S = 2.0
_OUT_S, _LONGEST_OUT_S = 30.0, 3600.0
"""The first and the longest pause between two tries to connect a gateway that the server has refused."""

Buses = dict[str, Bus]
"""A connection per gateway of this machine that the server lets in, each with its own key."""


async def follow(company: Company, changed: Callable[[], Awaitable[object]]) -> None:
    """Keep org.toml up to date until cancelled, and call `changed` after each change. Does nothing on the own machine.

    When `changed` is called, the registrar knows the keys of new agents, and this machine has the credentials for them.
    An error is logged, the file stays as it was, and the step is tried again; `changed` is tried ever more rarely.
    Raises Refused if the server lets none of this machine's gateways in.
    """
    if company.here is None:
        return
    async with contextlib.AsyncExitStack() as stack:
        buses = await _connected(company, stack, None)
        change, reconnect = _Tries(Backoff(EVERY_S, _LONGEST_S)), _Tries(Backoff(_OUT_S, _LONGEST_OUT_S))
        reconnect.begin(_OUT_S)
        while True:
            try:
                if reconnect.is_due():
                    await _reconnect(company, buses, stack)
                if await _let_in(company, buses):
                    change.begin()
                if (text := await _newer(company, buses)) is not None:
                    company = await _take_over(company, buses, text)
                    change.begin()
                    reconnect.begin(_OUT_S)
                if change.is_due():
                    await changed()
                    change.end()
            except (ClawbusError, OSError) as error:  # OSError: a full disk is no reason to end what runs
                log.warning("org.toml could not be taken over from the company's own machine: %s", _line(error))
            await asyncio.sleep(EVERY_S)


@dataclass
class _Tries:
    """The times of tries: the pause after each one is that of the backoff."""

    backoff: Backoff
    _due: float = math.inf

    def begin(self, after_s: float = 0.0) -> None:
        self._due = time.monotonic() + after_s
        self.backoff.reset()

    def end(self) -> None:
        self._due = math.inf

    def is_due(self) -> bool:
        """True if it is time for a try. Then the time of the next one is set, in case this one fails."""
        if time.monotonic() < self._due:
            return False
        self._due = time.monotonic() + self.backoff.next_s()
        return True


async def caught_up(company: Company) -> Company:
    """Bring org.toml up to date before anything starts here. Returns the company; unchanged if the bus is away.

    Raises Refused if the server lets none of this machine's gateways in. A gateway that has left the company, or was
    shut out, does not keep the others from starting.
    """
    if company.here is None or company.here.leaf is not None:  # a leaf is started with the rest
        return company
    async with contextlib.AsyncExitStack() as stack:
        try:
            buses = await _connected(company, stack, _PATIENCE_S)
        except Away:
            return company
        try:
            await _let_in(company, buses)
            _note(company, buses)
            if (text := await _newer(company, buses)) is not None:
                return await _take_over(company, buses, text)
        except (ClawbusError, OSError) as error:
            log.warning("org.toml stays as it is here for now: %s", _line(error))
    return company


async def _connected(company: Company, stack: contextlib.AsyncExitStack, wait_s: float | None) -> Buses:
    """The connections of this machine's gateways. Raises Refused if none is let in; BusAway."""
    found: Buses = {}
    refused: Refused | None = None
    for gateway in _known(company) or (company.here.gateways if company.here is not None else ()):
        try:
            found[gateway] = await stack.enter_async_context(_connect(company, gateway, wait_s))
        except Refused as error:
            log.warning("gateway %s: %s. %s", gateway, error.message, error.remedy)
            refused = error
    if refused is not None and not found:
        raise refused
    return found


def _connect(company: Company, gateway: str, wait_s: float | None) -> contextlib.AbstractAsyncContextManager[Bus]:
    return company.connect(f"gw-{gateway}", f"follower {gateway}", wait_s)


def _known(company: Company) -> list[str]:
    """The gateways of this machine that are `elsewhere` in org.toml; not those that have left or are home again."""
    elsewhere = {gateway.id for gateway in company.org.gateways if gateway.elsewhere}
    return [gateway for gateway in (company.here.gateways if company.here is not None else ()) if gateway in elsewhere]


async def _reconnect(company: Company, buses: Buses, stack: contextlib.AsyncExitStack) -> None:
    """Connect the gateways that were refused at the start. A connection that was refused later reconnects by itself."""
    for gateway in (known for known in _known(company) if known not in buses):
        with contextlib.suppress(Away, Refused):
            buses[gateway] = await stack.enter_async_context(_connect(company, gateway, _PATIENCE_S))


async def _let_in(company: Company, buses: Buses) -> bool:
    """Record which shut-out gateways the server lets in again. True if there are any, which are to be started."""
    if (mine := company.here) is None:
        return False
    back = set()
    for gateway in (known for known in _known(company) if known in mine.shut_out and known in buses):
        if buses[gateway].up and not buses[gateway].refused:
            try:  # first the keys of its agents: it has missed what has changed since
                await _make_known(company, gateway, buses[gateway])
                back.add(gateway)
            except ClawbusError as error:  # it is tried again; the others are not to wait for it
                log.debug("gateway %s stays shut out: %s", gateway, _line(error))
    if back:
        log.warning("let in again: %s", ", ".join(sorted(back)))
        out = tuple(gateway for gateway in mine.shut_out if gateway not in back)
        here.write(company.home, mine.model_copy(update={"shut_out": out}))
    return bool(back)


async def _newer(company: Company, buses: Buses) -> str | None:
    """The company's org.toml if it is not the one here; else None. Raises BusAway or Refused if no gateway can ask."""
    digest = digest_of(company.org_file.read_text("utf-8-sig"))
    *others, last = buses.items()
    for gateway, bus in others:
        with contextlib.suppress(ClawbusError):  # perhaps this gateway was shut out, and the next one is not
            return _text(await _ask(company, gateway, bus, org=digest))
    return _text(await _ask(company, *last, org=digest))


def _text(answer: dict[str, Any]) -> str | None:
    return answer["org"] if isinstance(answer.get("org"), str) else None


async def _take_over(company: Company, buses: Buses, text: str) -> Company:
    """Write org.toml, when the registrar knows the keys of this machine's gateways. Returns the company."""
    new = replace(company, org=_checked(company, text))
    _note(company, buses)
    for gateway in new.gateways_here:
        if gateway.elsewhere and gateway.id in buses:
            await _make_known(new, gateway.id, buses[gateway.id])
    write_secret(new.org_file, text)  # last: whoever reads it finds all that belongs to it
    return new


def _note(company: Company, buses: Buses) -> None:
    """Record which gateways of this machine the server does not let in now. `_let_in` takes one off that list."""
    if (mine := company.here) is not None:
        welcome = {gateway for gateway, bus in buses.items() if not bus.refused} - {*mine.shut_out}
        out = tuple(gateway for gateway in mine.gateways if gateway not in welcome)
        if out != mine.shut_out:
            here.write(company.home, mine.model_copy(update={"shut_out": out}))


def _checked(company: Company, text: str) -> Org:
    """Read an org.toml. Raises OrgMistakes, or Refused if it is of another company."""
    org = load_text(text, company.org_file)
    if org.company != company.org.company:
        raise Refused(f"it is the org.toml of another company: {org.company}")
    return org


async def _make_known(company: Company, gateway: str, bus: Bus) -> None:
    """Tell the registrar the public keys of a gateway's agents, and get new credentials. Missing keys are made.

    Processes that start later use the credentials; this connection keeps its old ones.
    """
    names = [agent_key(agent.id) for agent in company.org.agents_of(gateway)]
    keys = {name: load_or_create(name, company.home.key(name)).public_key for name in names}
    await _ask(company, gateway, bus, keys=keys)
    await renew(company.home, company.org, f"gw-{gateway}", bus)


async def _ask(company: Company, gateway: str, bus: Bus, **question: Any) -> dict[str, Any]:
    """Ask the registrar. Raises Refused with its words; BusAway."""
    subject = credentials_subject(company.org.company, f"gw-{gateway}")
    answer: dict[str, Any] = json.loads(await bus.ask(subject, json.dumps(question).encode()))
    if answer.get("error"):
        raise Refused(str(answer["error"]))
    return answer


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0]
