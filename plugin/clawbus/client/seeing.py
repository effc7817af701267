"""Who is online, asked by somebody who has not been listening."""

from __future__ import annotations

import asyncio

from clawbus.bus import Bus, Message
from clawbus.client.company import Company
from clawbus.retry import pause
from clawbus.tasks.roster import ASK, PERIOD_S, Roster

_WAIT_S = 0.6


async def who_is_online(bus: Bus, company: Company, person: str | None = None) -> Roster:
    """Ask all nodes to say of their agents whether they are there. Takes 0.6 s at most, less if all answer."""
    roster, heard = Roster(company.subjects), asyncio.Event()
    agents = [agent.id for agent in company.org.agents]

    def on_message(message: Message) -> None:
        roster.on_presence(message)
        if roster.has_heard(agents):
            heard.set()

    subjects = company.subjects
    stop = await bus.listen(subjects.everything("presence"), on_message)
    try:
        await bus.tell(subjects.build("roll", company.speaker(person)), ASK)
        await pause(heard, _WAIT_S)
    finally:
        await stop()
    return roster


async def overheard(bus: Bus, company: Company, agents: list[str]) -> Roster:
    """What nodes say of these agents by themselves, for who may not ask. Takes as long as their period, at most."""
    roster, heard = Roster(company.subjects), asyncio.Event()

    def on_message(message: Message) -> None:
        roster.on_presence(message)
        if roster.has_heard(agents):
            heard.set()

    stop = await bus.listen(company.subjects.everything("presence"), on_message)
    try:
        await pause(heard, PERIOD_S + 1)
    finally:
        await stop()
    return roster
