"""Unfit agents: an alert for each gateway that fails every turn of an agent before its model is asked (ADR 26).

A node says it in its presence, until the gateway is well again or is another process. While `clawbus up` restarts the
gateway, no person is called.
"""

from __future__ import annotations

from typing import ClassVar

from clawbus.bus import Message
from clawbus.org import Gateway
from clawbus.steward.context import Context, in_line
from clawbus.steward.duty import Duty
from clawbus.tasks.roster import Roster, Unwell, remedy


class UnfitAgents(Duty):
    """One alert for each gateway. It clears when its agents are well again."""

    rule: ClassVar[str] = "gateway"
    period_s: ClassVar[float | None] = 2.0

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._roster = Roster(context.subjects)

    async def on_start(self) -> None:
        await self.context.bus.listen(self.context.subjects.everything("presence"), self._on_presence)

    def _on_presence(self, message: Message) -> None:
        self._roster.on_presence(message)

    async def tick(self) -> None:
        org = self.context.org
        raised = {alert.key for alert in await self.context.alerts.raised(self.rule)}
        for gateway in org.gateways:
            agents = [agent.id for agent in org.agents_of(gateway.id)]
            found = {agent: unwell for agent in agents if (unwell := self._roster.unwell(agent)) is not None}
            calls = {agent: unwell for agent, unwell in found.items() if unwell.needs_person}
            if calls:
                await self.context.alert(self.rule, gateway.id, True, _text(gateway, calls), agents=sorted(calls))
            elif gateway.id in raised and not found and self._roster.has_heard(agents):
                await self.context.alert(self.rule, gateway.id, False, f"the turns of {gateway.id} may go on")
        await self.context.clear_others(self.rule, {gateway.id for gateway in org.gateways})


def _text(gateway: Gateway, unwell: dict[str, Unwell]) -> str:
    first = next(iter(unwell.values()))
    reason = f"It says: {in_line(first.why)}\n" if first.why else ""
    return (
        f"The gateway {gateway.id} fails every turn of {', '.join(unwell)} before a model is asked.\n{reason}"
        f"Their tasks wait, and go on by themselves when it is well.\n\n{remedy(gateway, first)}"
    )
