"""A person's side of stopping: give an order, see what stands, and hear who obeys."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from clawbus.bus import Bus, Message
from clawbus.client.company import Company
from clawbus.errors import BusAway, NotFound
from clawbus.org import Org
from clawbus.retry import pause, retry
from clawbus.tasks.halt import Halt
from clawbus.tasks.halt_orders import ALL, Order, State, encode
from clawbus.tasks.roster import ASK, Roster
from clawbus.wire.subjects import check_id, new_message_id

WITHIN_S = 5.0
"""Within this time every node obeys that the bus reaches."""
_HEARD_S = 0.6
_AGAIN_S = 0.5


@dataclass(frozen=True, slots=True)
class HaltReport:
    """The agents by their nodes' answers. `away`: not heard; their nodes obey before they begin anything."""

    obeys: list[str]
    not_yet: list[str]
    away: list[str]


def check_target(org: Org, target: str) -> None:
    """Raises InvalidInput or NotFound unless it is an agent, or all."""
    check_id("AGENT", target)
    agents = [agent.id for agent in org.agents]
    if target == ALL or target in agents:
        return
    if members := org.members(target):
        problem = f"AGENT = {target!r}: it is a team or a pool, and orders are for its members"
        raise NotFound(problem, f"Name each: {', '.join(members)}.")
    raise NotFound(f"AGENT = {target!r}: no such agent in {org.company}", f"There are: {', '.join(agents)}.")


async def order(bus: Bus, company: Company, me: str, target: str, state: State, why: str = "") -> None:
    """Give an order for an agent, or for all. The newest of all people's counts. Raises NotFound, BusAway, Refused.

    An agent that has left can be resumed as long as an order about it stands: that order would count if it came back.
    """
    gone = state == "running" and target in {
        standing_order.target for standing_order in (await standing(bus, company)).standing()
    }
    if not gone:
        check_target(company.org, target)
    subject, said, msg_id = company.subjects.build("state", me, target=target), encode(state, why), new_message_id(me)
    try:  # three times with one id: it is stored once
        await retry(lambda: bus.publish(subject, said, msg_id=msg_id), BusAway, _AGAIN_S, tries=3)
    except BusAway as away:
        away.remedy = "It may have arrived all the same: look with `clawbus state`, and order it again."
        raise


async def standing(bus: Bus, company: Company) -> Halt:
    """The orders that stand now. Raises BusAway, Refused."""
    halt = Halt(bus, company.org)
    await halt.read()
    return halt


async def in_the_way(company: Company, person: str | None, to: str) -> str:
    """The order that keeps `to` from beginning anything, in words; empty if none does. Raises BusAway, Refused."""
    async with company.connect_person(person) as (bus, _):
        return str((await standing(bus, company)).of(to) or "")


@contextlib.asynccontextmanager
async def telling(bus: Bus, company: Company, say: Callable[[str], None]) -> AsyncIterator[None]:
    """Say what is stopped or paused, at first and when it changes, while the block runs."""
    halt, told = Halt(bus, company.org), dict[str, Order]()

    def tell() -> None:
        now = {standing_order.target: standing_order for standing_order in halt.standing()}
        for target, standing_order in now.items():
            if told.get(target) != standing_order:
                say(str(standing_order))
        for target in told.keys() - now.keys():
            say(f"{'the company' if target == ALL else target} may work again")
        told.clear()
        told.update(now)

    halt.on_change.append(tell)
    looking = asyncio.create_task(halt.run())
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def obedience(bus: Bus, company: Company, me: str, wait_s: float = WITHIN_S) -> HaltReport:
    """Wait until all nodes that are heard do as the orders say, `wait_s` at most. Raises BusAway."""
    agents = [agent.id for agent in company.org.agents]
    roster, heard, began = Roster(company.subjects), asyncio.Event(), time.monotonic()

    def on_message(message: Message) -> None:
        roster.on_presence(message)
        heard.set()

    halt = await standing(bus, company)
    wanted = {agent: halt.word(agent) for agent in agents}
    subjects = company.subjects
    stop = await bus.listen(subjects.everything("presence"), on_message)
    try:
        await bus.tell(subjects.build("roll", me), ASK)
        while (waited_s := time.monotonic() - began) < wait_s:
            found = _obedience(roster, wanted)
            if not found.not_yet and (not found.away or waited_s > _HEARD_S):
                break
            heard.clear()
            await pause(heard, _HEARD_S)
    finally:
        await stop()
    return _obedience(roster, wanted)


def _obedience(roster: Roster, wanted: dict[str, str]) -> HaltReport:
    away = [agent for agent in wanted if not roster.has_heard([agent])]
    obeys = [agent for agent in wanted if agent not in away and roster.last(agent).get("state") == wanted[agent]]
    return HaltReport(obeys, [agent for agent in wanted if agent not in (*away, *obeys)], away)
