"""A whole company, and the questions that the rest of clawbus asks about it."""

from __future__ import annotations

from pydantic import Field

from clawbus.errors import NotFound
from clawbus.org.members import STEWARD, Agent, Gateway, Human, Id, Part, Pool, Role, Team
from clawbus.org.network import BusConfig
from clawbus.org.policies import Alerts, Budget, Edge, Guests, Learning, Oversight, Policies, Recurring
from clawbus.org.stream_sizes import Sizes
from clawbus.wire.subjects import check_id


class Org(Part):
    """What an org.toml says."""

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

    @property
    def url(self) -> str:
        """Where the bus is for this company's own machine; one that has joined knows it from its here.json."""
        scheme = "tls" if self.bus.shared else "nats"
        return self.bus.url or f"{scheme}://{self.bus.local_host}:{self.bus.port}"

    @property
    def people(self) -> frozenset[str]:
        return frozenset(human.id for human in self.humans)

    @property
    def team_ids(self) -> tuple[str, ...]:
        """Every team, whether it has an entry of its own or only members."""
        return tuple(dict.fromkeys([*(team.id for team in self.teams), *(agent.team for agent in self.agents)]))

    def agent(self, agent_id: str, field: str = "to") -> Agent:
        """The agent of that id. Raises NotFound, with the names that exist, before anything is sent."""
        check_id(field, agent_id)
        for agent in self.agents:
            if agent.id == agent_id:
                return agent
        known = ", ".join(agent.id for agent in self.agents)
        raise NotFound(f"{field} = {agent_id!r}: no such agent in {self.company}", f"There are: {known}.")

    def gateway(self, gateway_id: str) -> Gateway:
        """The gateway of that id. Raises NotFound."""
        for gateway in self.gateways:
            if gateway.id == gateway_id:
                return gateway
        known = ", ".join(gateway.id for gateway in self.gateways)
        raise NotFound(f"gateway = {gateway_id!r}: no such gateway in {self.company}", f"There are: {known}.")

    def agents_of(self, gateway_id: str) -> tuple[Agent, ...]:
        return tuple(agent for agent in self.agents if agent.gateway == gateway_id)

    @property
    def listeners(self) -> tuple[Agent, ...]:
        """The agents that read what is said to many: a program does tasks, and hears nothing else."""
        deaf = {gateway.id for gateway in self.gateways if gateway.is_program}
        return tuple(agent for agent in self.agents if agent.gateway not in deaf)

    def model_of(self, agent: Agent) -> str:
        return agent.model or self.model

    # -- groups: teams and pools share a queue; one member takes a task ---------------------------------------------

    def members(self, group: str) -> tuple[str, ...]:
        """The agents of a team or a pool, in the file's order; nobody if there is no such group."""
        for pool in self.pools:
            if pool.id == group:
                return pool.members
        return tuple(agent.id for agent in self.agents if agent.team == group)

    @property
    def groups(self) -> tuple[str, ...]:
        """Teams and pools: what may be given a task that one member takes."""
        return (*self.team_ids, *(pool.id for pool in self.pools))

    def groups_of(self, gateway_id: str) -> tuple[str, ...]:
        """The groups that have a member on this gateway."""
        mine = {agent.id for agent in self.agents_of(gateway_id)}
        return tuple(group for group in self.groups if mine & set(self.members(group)))

    def takers(self, to: str, field: str = "agentId") -> frozenset[str]:
        """Who may take a task that is addressed so: the agent itself, or the members of the team or pool.

        Raises NotFound, with the names that exist.
        """
        if to in self.groups and self.members(to):
            return frozenset(self.members(to))
        if any(agent.id == to for agent in self.agents):
            return frozenset({to})
        check_id(field, to)
        agents = ", ".join(agent.id for agent in self.agents)
        raise NotFound(
            f"{field} = {to!r}: no such agent, team or pool in {self.company}",
            f"Agents: {agents}. Teams and pools: {', '.join(self.groups)}.",
        )

    def may_take(self, to: str) -> frozenset[str]:
        """As `takers`, for what is on the bus already: an agent that has left since is itself."""
        return frozenset(self.members(to) or (to,))

    @property
    def may_end(self) -> frozenset[str]:
        """Who may end any task, besides its requester and its worker."""
        return self.people | {STEWARD}

    # -- the hierarchy ----------------------------------------------------------------------------------------------

    def superior(self, member: str) -> str | None:
        """Whom an agent or a person reports to; an agent at the top to the first person, who reports to nobody."""
        for human in self.humans:
            if human.id == member:
                return human.reports_to
        above = next((agent.reports_to for agent in self.agents if agent.id == member), None)
        return above or self.humans[0].id

    def chain(self, member: str) -> tuple[str, ...]:
        """Everyone above, nearest first, up to a person."""
        found: list[str] = []
        above = self.superior(member)
        while above is not None and above not in found:
            found.append(above)
            if above in self.people:
                break
            above = self.superior(above)
        return tuple(found)

    @property
    def alerted(self) -> tuple[str, ...]:
        """The people who are told of what goes wrong."""
        return self.alerts.to or (self.humans[0].id,)

    # -- rules ------------------------------------------------------------------------------------------------------

    def edge(self, source: str, to: str, name: str = "") -> Edge | None:
        """The `on_complete` edge that is allowed there; one with that name if a name is asked for."""
        fitting = [edge for edge in self.edges if (edge.source, edge.to) == (source, to)]
        return next((edge for edge in fitting if not name or edge.name in (name, "")), None)

    def decider(self, rule: Oversight | None, requester: str, worker: str) -> str:
        """The person who is asked about a task first: the rule's, else the first one above.

        That is above the worker where a rule watches it, above the requester otherwise.
        """
        if rule is not None and rule.human is not None:
            return rule.human
        of_worker = (rule is not None and rule.agent is not None) or all(one.id != requester for one in self.agents)
        return self.chain(worker if of_worker else requester)[-1]

    def people_above(self, person: str) -> tuple[str, ...]:
        """To whom a person reports, and so on, nearest first."""
        found: list[str] = []
        above = self.superior(person)
        while above is not None and above not in (person, *found):
            found.append(above)
            above = self.superior(above)
        return tuple(one for one in found if one in self.people)

    def watching(self, source: str, to: str, worker: str) -> tuple[Oversight, ...]:
        """The rules for a task from `source`, addressed to `to`, that `worker` does.

        Those of the edge to the worker, else of the edge to the group that it was for, else those of the worker.
        """
        sought = ((None, source, worker), (None, source, to), (worker, None, None))
        found = (tuple(one for one in self.oversight if (one.agent, one.source, one.to) == which) for which in sought)
        return next((rules for rules in found if rules), ())
