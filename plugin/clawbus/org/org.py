"""A whole company, and the questions that the rest of clawbus asks about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, Self, TypeVar

from pydantic import Field

from clawbus.errors import NotFound
from clawbus.org.bus_config import BusConfig
from clawbus.org.members import STEWARD, Agent, Gateway, Human, Id, Part, Pool, Role, Team
from clawbus.org.policies import Alerts, Budget, Edge, Guests, Learning, Oversight, Policies, Recurring
from clawbus.org.stream_sizes import Sizes
from clawbus.wire.subjects import check_id

T = TypeVar("T")
K = TypeVar("K")


class Org(Part):
    """A company, as its org.toml says.

    Each question is a look into a dict that is made once, so that a company of ten thousand agents is asked as fast as
    one of ten. The lists keep the order of the file.
    """

    company: Id
    model: str = "scripted"
    roles: tuple[Role, ...] = ()
    """Roles of the company's own: their agents have the neutral soul, and the tool policy that all share."""
    bus: BusConfig = BusConfig()
    policies: Policies = Policies()
    learning: Learning = Learning()
    alerts: Alerts = Alerts()
    guests: Guests = Guests()
    budget: Budget = Budget()
    streams: Sizes = Sizes()
    gateways: tuple[Gateway, ...] = Field(min_length=1)
    teams: tuple[Team, ...] = ()
    pools: tuple[Pool, ...] = ()
    agents: tuple[Agent, ...] = Field(min_length=1)
    humans: tuple[Human, ...] = Field(default=(Human(id="owner"),), min_length=1)
    edges: tuple[Edge, ...] = ()
    recurring: tuple[Recurring, ...] = ()
    oversight: tuple[Oversight, ...] = ()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's, without the indexes of this one: the copy may have other agents."""
        copy = super().model_copy(update=update, deep=deep)
        for name in copy.__dict__.keys() - type(self).model_fields.keys():
            del copy.__dict__[name]
        return copy

    @property
    def url(self) -> str:
        """The bus's address for the company's own machine; one that has joined knows it from its here.json."""
        scheme = "tls" if self.bus.shared else "nats"
        return self.bus.url or f"{scheme}://{self.bus.local_host}:{self.bus.port}"

    # -- indexes ----------------------------------------------------------------------------------------------------

    @cached_property
    def agents_by_id(self) -> Mapping[str, Agent]:
        return {agent.id: agent for agent in reversed(self.agents)}  # of two of one id the first counts

    @cached_property
    def agents_by_role(self) -> Mapping[str, tuple[Agent, ...]]:
        return _grouped(self.agents, lambda agent: agent.role)

    @cached_property
    def _agents_by_gateway(self) -> Mapping[str, tuple[Agent, ...]]:
        return _grouped(self.agents, lambda agent: agent.gateway)

    @cached_property
    def _gateways_by_id(self) -> Mapping[str, Gateway]:
        return {gateway.id: gateway for gateway in reversed(self.gateways)}

    @cached_property
    def humans_by_id(self) -> Mapping[str, Human]:
        return {human.id: human for human in reversed(self.humans)}

    @cached_property
    def _members_by_group(self) -> Mapping[str, tuple[str, ...]]:
        """The members of each pool, and of each team that has some."""
        teams = _grouped(self.agents, lambda agent: agent.team)
        pools = {pool.id: pool.members for pool in reversed(self.pools)}
        return {**{team: tuple(agent.id for agent in agents) for team, agents in teams.items()}, **pools}

    @cached_property
    def _groups_by_gateway(self) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, dict[str, None]] = {}
        for group in self.groups:
            for member in self.members(group):
                if member in self.agents_by_id:
                    found.setdefault(self.agents_by_id[member].gateway, {})[group] = None
        return {gateway: tuple(groups) for gateway, groups in found.items()}

    @cached_property
    def _edges_by_ends(self) -> Mapping[tuple[str, str], tuple[Edge, ...]]:
        return _grouped(self.edges, lambda edge: (edge.source, edge.to))

    @cached_property
    def _oversight_by_target(self) -> Mapping[tuple[str | None, str | None, str | None], tuple[Oversight, ...]]:
        return _grouped(self.oversight, lambda rule: (rule.agent, rule.source, rule.to))

    # -- agents, people, gateways -----------------------------------------------------------------------------------

    @cached_property
    def people(self) -> frozenset[str]:
        return frozenset(human.id for human in self.humans)

    @cached_property
    def team_ids(self) -> tuple[str, ...]:
        """Every team, whether it has an entry of its own or only members."""
        return tuple(dict.fromkeys([*(team.id for team in self.teams), *(agent.team for agent in self.agents)]))

    @cached_property
    def _teams(self) -> frozenset[str]:
        return frozenset(self.team_ids)

    def is_team(self, name: str) -> bool:
        return name in self._teams

    def agent(self, agent_id: str, field: str = "to") -> Agent:
        """The agent of that id. Raises NotFound, with the names that exist, before anything is sent."""
        check_id(field, agent_id)
        if agent_id in self.agents_by_id:
            return self.agents_by_id[agent_id]
        known = ", ".join(agent.id for agent in self.agents)
        raise NotFound(f"{field} = {agent_id!r}: no such agent in {self.company}", f"There are: {known}.")

    def gateway(self, gateway_id: str) -> Gateway:
        """The gateway of that id. Raises NotFound."""
        if gateway_id in self._gateways_by_id:
            return self._gateways_by_id[gateway_id]
        known = ", ".join(gateway.id for gateway in self.gateways)
        raise NotFound(f"gateway = {gateway_id!r}: no such gateway in {self.company}", f"There are: {known}.")

    def has_gateway(self, gateway_id: str) -> bool:
        return gateway_id in self._gateways_by_id

    def agents_of(self, gateway_id: str) -> tuple[Agent, ...]:
        return self._agents_by_gateway.get(gateway_id, ())

    @cached_property
    def listeners(self) -> tuple[Agent, ...]:
        """The agents that read what is said to many: a program does tasks, and hears nothing else."""
        deaf = {gateway.id for gateway in self.gateways if gateway.is_program}
        return tuple(agent for agent in self.agents if agent.gateway not in deaf)

    def model_of(self, agent: Agent) -> str:
        return agent.model or self.model

    # -- groups: teams and pools share a queue; one member takes a task ---------------------------------------------

    def members(self, group: str) -> tuple[str, ...]:
        """The agents of a team or a pool, in the file's order; nobody if there is no such group."""
        return self._members_by_group.get(group, ())

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Teams and pools: each may be given a task that one member takes."""
        return (*self.team_ids, *(pool.id for pool in self.pools))

    def groups_of(self, gateway_id: str) -> tuple[str, ...]:
        """The groups that have a member on this gateway, in the order of `groups`."""
        return self._groups_by_gateway.get(gateway_id, ())

    def takers(self, to: str, field: str = "agentId") -> frozenset[str]:
        """The agents that may take a task addressed so: the agent itself, or the members of the team or pool.

        Raises NotFound, with the names that exist.
        """
        if members := self.members(to):
            return frozenset(members)
        if to in self.agents_by_id:
            return frozenset({to})
        check_id(field, to)
        agents = ", ".join(agent.id for agent in self.agents)
        raise NotFound(
            f"{field} = {to!r}: no such agent, team or pool in {self.company}",
            f"Agents: {agents}. Teams and pools: {', '.join(self.groups)}.",
        )

    def may_take(self, to: str) -> frozenset[str]:
        """As `takers`, for a task that is on the bus already: an agent that has left since is its own taker."""
        return frozenset(self.members(to) or (to,))

    @cached_property
    def may_end(self) -> frozenset[str]:
        """Those who may end any task, besides its requester and its worker."""
        return self.people | {STEWARD}

    # -- the hierarchy ----------------------------------------------------------------------------------------------

    def superior(self, member: str) -> str | None:
        """The one that an agent or a person reports to; None for a person who reports to nobody.

        An agent that reports to nobody by org.toml reports to the first person.
        """
        if member in self.humans_by_id:
            return self.humans_by_id[member].reports_to
        agent = self.agents_by_id.get(member)
        return (agent.reports_to if agent is not None else None) or self.humans[0].id

    def chain(self, member: str) -> tuple[str, ...]:
        """Everyone above, nearest first, up to a person."""
        found: dict[str, None] = {}
        above = self.superior(member)
        while above is not None and above not in found:
            found[above] = None
            if above in self.people:
                break
            above = self.superior(above)
        return tuple(found)

    @property
    def alerted(self) -> tuple[str, ...]:
        """The people who are told when something goes wrong."""
        return self.alerts.to or (self.humans[0].id,)

    # -- rules ------------------------------------------------------------------------------------------------------

    def edge(self, source: str, to: str, name: str = "") -> Edge | None:
        """The `on_complete` edge that is allowed there; one with that name if a name is asked for."""
        fitting = self._edges_by_ends.get((source, to), ())
        return next((edge for edge in fitting if not name or edge.name in (name, "")), None)

    def decider(self, rule: Oversight | None, requester: str, worker: str) -> str:
        """The person who is asked about a task first: the rule's, else the first one above.

        That is above the worker where a rule watches it, above the requester otherwise.
        """
        if rule is not None and rule.human is not None:
            return rule.human
        of_worker = (rule is not None and rule.agent is not None) or requester not in self.agents_by_id
        return self.chain(worker if of_worker else requester)[-1]

    def people_above(self, person: str) -> tuple[str, ...]:
        """The people to whom a person reports, directly and further up, nearest first."""
        found: dict[str, None] = {}
        above = self.superior(person)
        while above is not None and above != person and above not in found:
            found[above] = None
            above = self.superior(above)
        return tuple(member for member in found if member in self.people)

    def watching(self, source: str, to: str, worker: str) -> tuple[Oversight, ...]:
        """The rules for a task from `source`, addressed to `to`, that `worker` does.

        Those of the edge to the worker, else of the edge to the group that it was for, else those of the worker.
        """
        targets = ((None, source, worker), (None, source, to), (worker, None, None))
        found = (self._oversight_by_target.get(target, ()) for target in targets)
        return next((rules for rules in found if rules), ())


def _grouped(entries: Iterable[T], key: Callable[[T], K]) -> dict[K, tuple[T, ...]]:
    """The entries of each key, in their order."""
    found: dict[K, list[T]] = {}
    for entry in entries:
        found.setdefault(key(entry), []).append(entry)
    return {name: tuple(members) for name, members in found.items()}
