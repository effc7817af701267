"""`nats_org`: who is in the company, who reports to whom, who can do what, who is online."""

from __future__ import annotations

from typing import Any

from clawbus.node.prompts.untrusted import harmless
from clawbus.node.tools.answer import Answer, Caller
from clawbus.node.tools.params import NatsOrg
from clawbus.org import Agent, Human, Org
from clawbus.tasks.roster import Roster


class OrgTool:
    """The org file, and what the agents' nodes say of themselves."""

    def __init__(self, org: Org, roster: Roster) -> None:
        self._org = org
        self._roster = roster

    async def who(self, caller: Caller, asked: NatsOrg) -> Answer:
        """Everyone who fits all that was asked; without filters also the people, the teams and the pools."""
        found = [agent for agent in self._org.agents if self._fits(agent, asked)]
        lines = [self._line(agent, caller.agent) for agent in found]
        people = [human for human in self._org.humans if asked.agent_id in (None, human.id) and not _filtered(asked)]
        lines += [_person(human) for human in people]
        if not _filtered(asked) and asked.agent_id is None:
            lines += self._groups()
        data = {
            "agents": [self._data(agent) for agent in found],
            "people": [{"id": human.id, "reportsTo": human.reports_to} for human in people],
        }
        return Answer(True, "\n".join(lines) or "Nobody fits. Call it without filters to see everyone.", data)

    def _fits(self, agent: Agent, asked: NatsOrg) -> bool:
        group = self._org.members(asked.team) if asked.team else ()
        return (
            asked.agent_id in (None, agent.id)
            and asked.role in (None, agent.role, agent.role.removeprefix("role-"))
            and (asked.team is None or agent.id in group)
            and (asked.skill is None or _can(agent, asked.skill))
            and (asked.online is None or asked.online == self._roster.online(agent.id))
        )

    def _line(self, agent: Agent, caller: str) -> str:
        you = " (you)" if agent.id == caller else ""
        above = self._org.superior(agent.id)
        parts = [f"{agent.id}{you}: {agent.role}, team {agent.team}, reports to {above}, {self._state(agent)}"]
        if agent.skills:
            parts.append(f"skills: {', '.join(agent.skills)}")
        if agent.specialization:
            parts.append(agent.specialization)
        return harmless("; ".join(parts), lines=False)

    def _state(self, agent: Agent) -> str:
        if not self._roster.online(agent.id):
            return "offline"
        busy = self._roster.busy(agent.id)
        return f"online, {busy} task{'s' * (busy != 1)} in hand" if busy else "online"

    def _data(self, agent: Agent) -> dict[str, Any]:
        online = self._roster.online(agent.id)
        return {
            "id": agent.id,
            "role": agent.role,
            "team": agent.team,
            "reportsTo": self._org.superior(agent.id),
            "skills": list(agent.skills),
            "model": self._org.model_of(agent),
            "gateway": agent.gateway,
            "online": online,
            "busy": self._roster.busy(agent.id) if online else None,
            "version": self._roster.version(agent.id) or None,
        }

    def _groups(self) -> list[str]:
        teams = [f"team:{team}: {', '.join(self._org.members(team)) or 'nobody'}" for team in self._org.team_ids]
        pools = [f"{pool.id}: a pool, one of {', '.join(pool.members)} takes a task" for pool in self._org.pools]
        return teams + pools


def _person(human: Human) -> str:
    above = f", reports to {human.reports_to}" if human.reports_to else ""
    return f"{human.id}: a person{above}"


def _filtered(asked: NatsOrg) -> bool:
    return any(value is not None for value in (asked.role, asked.team, asked.skill, asked.online))


def _can(agent: Agent, skill: str) -> bool:
    """True if a skill of the agent, or what it specializes in, has the word."""
    word = skill.casefold()
    return any(word in text.casefold() for text in (*agent.skills, agent.specialization))
