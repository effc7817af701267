"""On a machine that has joined: org.toml as the company's own machine has it, and what follows from a change of it."""

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
from clawbus.settings import write_secret

log = logging.getLogger(__name__)
EVERY_S = 5.0
_LONGEST_S = 300.0
"""Between two tries to have the processes take a change in: each may start some of them anew."""
_PATIENCE_S = 2.0
_OUT_S, _LONGEST_OUT_S = 30.0, 3600.0
"""Between two tries with a gateway that was not let in: what the server had against it may have passed."""

Buses = dict[str, Bus]
"""A connection per gateway of this machine that the server lets in, each with its own key."""


async def follow(company: Company, changed: Callable[[], Awaitable[object]]) -> None:
    """Until cancelled: keep org.toml as the company's own machine has it, and call `changed` when it is another.

    By then this machine has told the keys of agents that are new to it, and has the credentials for them. Does nothing
    on the company's own machine. What fails is logged and tried again, and the file stays as it was; so is `changed`,
    ever more rarely. Raises Refused if the server lets none of this machine's gateways in.
    """
    if company.here is None:
        return
    async with contextlib.AsyncExitStack() as stack:
        buses = await _connected(company, stack, None)
        telling, asking = _Tries(EVERY_S, _LONGEST_S), _Tries(_OUT_S, _LONGEST_OUT_S)
        asking.begin(_OUT_S)
        while True:
            try:
                if asking.is_due():
                    await _ask_again(company, buses, stack)
                if await _let_in(company, buses):
                    telling.begin()
                if (text := await _newer(company, buses)) is not None:
                    company = await _take_over(company, buses, text)
                    telling.begin()
                    asking.begin(_OUT_S)
                if telling.is_due():
                    await changed()
                    telling.end()
            except (ClawbusError, OSError) as error:  # a full disk is no reason to end what runs
                log.warning("org.toml could not be taken over from the company's own machine: %s", _line(error))
            await asyncio.sleep(EVERY_S)


@dataclass
class _Tries:
    """When to try something next: ever more rarely, from `first_s` to `longest_s` after the last try."""

    first_s: float
    longest_s: float
    _due: float = math.inf
    _wait_s: float = 0.0

    def begin(self, after_s: float = 0.0) -> None:
        self._due, self._wait_s = time.monotonic() + after_s, self.first_s

    def end(self) -> None:
        self._due = math.inf

    def is_due(self) -> bool:
        """Whether to try now. If so, the next time is set as if it would fail."""
        if time.monotonic() < self._due:
            return False
        self._due, self._wait_s = time.monotonic() + self._wait_s, min(2 * self._wait_s, self.longest_s)
        return True


async def caught_up(company: Company) -> Company:
    """The company as its own machine has it, taken over before anything starts here; as it is, if that is away.

    A gateway that has left it, or was shut out, must not keep the others of this machine from starting. Raises Refused
    if the server lets none of them in.
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
    """Raises Refused if no gateway is let in, BusAway."""
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
    """The gateways of this machine that are elsewhere by org.toml, too: not those that have left or are at home."""
    elsewhere = {one.id for one in company.org.gateways if one.elsewhere}
    return [one for one in (company.here.gateways if company.here is not None else ()) if one in elsewhere]


async def _ask_again(company: Company, buses: Buses, stack: contextlib.AsyncExitStack) -> None:
    """Call for those that were not let in at the start. A connection that was refused later asks by itself."""
    for gateway in (one for one in _known(company) if one not in buses):
        with contextlib.suppress(Away, Refused):
            buses[gateway] = await stack.enter_async_context(_connect(company, gateway, _PATIENCE_S))


async def _let_in(company: Company, buses: Buses) -> bool:
    """Note of those that were shut out which are let in again. Whether there are any: they are to be started.

    They have missed what has changed since, so first they tell the keys of their agents.
    """
    if (mine := company.here) is None:
        return False
    back = set()
    for gateway in (one for one in _known(company) if one in mine.shut_out and one in buses):
        if buses[gateway].up and not buses[gateway].refused:
            try:
                await _make_known(company, gateway, buses[gateway])
                back.add(gateway)
            except ClawbusError as error:  # it is tried again; the others are not to wait for it
                log.debug("gateway %s stays shut out: %s", gateway, _line(error))
    if back:
        log.warning("let in again: %s", ", ".join(sorted(back)))
        here.write(
            company.home, mine.model_copy(update={"shut_out": tuple(one for one in mine.shut_out if one not in back)})
        )
    return bool(back)


async def _newer(company: Company, buses: Buses) -> str | None:
    """The company's org.toml, if it is not the one that is here. Raises BusAway or Refused if no gateway hears it."""
    digest = digest_of(company.org_file.read_text("utf-8-sig"))
    *others, last = buses.items()
    for gateway, bus in others:
        with contextlib.suppress(ClawbusError):  # shut out, it may be
            return _text(await _ask(company, gateway, bus, org=digest))
    return _text(await _ask(company, *last, org=digest))


def _text(said: dict[str, Any]) -> str | None:
    return said["org"] if isinstance(said.get("org"), str) else None


async def _take_over(company: Company, buses: Buses, text: str) -> Company:
    """Write it. Gateways that have left, are at home again, or were shut out have nothing to tell any more."""
    new = replace(company, org=_checked(company, text))
    _note(company, buses)
    for gateway in (one.id for one in new.gateways_here if one.elsewhere and one.id in buses):
        await _make_known(new, gateway, buses[gateway])
    write_secret(new.org_file, text)  # last: who reads it finds all that belongs to it
    return new


def _note(company: Company, buses: Buses) -> None:
    """Write down which gateways of this machine the server does not let in now. The way back is `_let_in`."""
    if (mine := company.here) is not None:
        stay = [one for one in mine.gateways if one in buses and not buses[one].refused and one not in mine.shut_out]
        out = tuple(one for one in mine.gateways if one not in stay)
        if out != mine.shut_out:
            here.write(company.home, mine.model_copy(update={"shut_out": out}))


def _checked(company: Company, text: str) -> Org:
    """Raises OrgMistakes, or Refused for another company's."""
    org = load_text(text, company.org_file)
    if org.company != company.org.company:
        raise Refused(f"it is the org.toml of another company: {org.company}")
    return org


async def _make_known(company: Company, gateway: str, bus: Bus) -> None:
    """Tell the public keys of a gateway's agents, made here where they are missing, and get new credentials.

    They are for what is started after; this connection asks for no more than its old ones say.
    """
    names = [agent_key(agent.id) for agent in company.org.agents_of(gateway)]
    keys = {name: load_or_create(name, company.home.key(name)).public_key for name in names}
    await _ask(company, gateway, bus, keys=keys)
    await renew(company.home, company.org, f"gw-{gateway}", bus)


async def _ask(company: Company, gateway: str, bus: Bus, **question: Any) -> dict[str, Any]:
    """Raises Refused with the registrar's words, BusAway."""
    subject = credentials_subject(company.org.company, f"gw-{gateway}")
    said: dict[str, Any] = json.loads(await bus.ask(subject, json.dumps(question).encode()))
    if said.get("error"):
        raise Refused(str(said["error"]))
    return said


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0]
