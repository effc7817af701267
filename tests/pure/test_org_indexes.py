"""The indexes of an org: each answer is the one that a walk through the lists gives, also in a copy with others."""

from __future__ import annotations

from clawbus.org import Org, parse

ORG = parse(
    {
        "company": "acme",
        "gateways": [{"id": f"g{n}", "kind": "program"} for n in range(4)],
        "teams": [{"id": "empty"}],
        "pools": [{"id": "mixed", "members": ["a5", "a0", "a2"]}],
        "agents": [
            {"id": f"a{n}", "gateway": f"g{n % 3}", "team": f"t{n % 2}", "role": ("role-qa", "role-cto")[n % 2]}
            | ({"reports_to": f"a{n // 2}"} if n else {})
            for n in range(9)
        ],
        "humans": [{"id": "owner"}, {"id": "boss"}],
        "edges": [{"from": "a0", "to": "a1", "name": name} for name in ("x", "y")],
        "oversight": [{"agent": "a1", "level": "told"}, {"from": "a0", "to": "t1", "level": "ask_dispatch"}],
    }
)


def scanned_members(org: Org, group: str) -> tuple[str, ...]:
    pools = [pool.members for pool in org.pools if pool.id == group]
    return pools[0] if pools else tuple(agent.id for agent in org.agents if agent.team == group)


def check(org: Org) -> None:
    for gateway in org.gateways:
        mine = tuple(agent for agent in org.agents if agent.gateway == gateway.id)
        assert org.agents_of(gateway.id) == mine
        ids = {agent.id for agent in mine}
        assert org.groups_of(gateway.id) == tuple(one for one in org.groups if ids & {*scanned_members(org, one)})
    for group in (*org.groups, "nobody"):
        assert org.members(group) == scanned_members(org, group)
    for role in ("role-qa", "role-cto", "role-ceo"):
        assert org.agents_by_role.get(role, ()) == tuple(agent for agent in org.agents if agent.role == role)
    assert [org.agent(agent.id) for agent in org.agents] == [*org.agents]
    assert org.people == {human.id for human in org.humans}


def test_an_index_answers_as_the_lists_do() -> None:
    check(ORG)
    assert ORG.chain("a8") == ("a4", "a2", "a1", "a0", "owner")
    assert [edge.name for edge in (ORG.edge("a0", "a1"), ORG.edge("a0", "a1", "y")) if edge] == ["x", "y"]
    assert [rule.level for rule in ORG.watching("owner", "a1", "a1")] == ["told"]
    assert [rule.level for rule in ORG.watching("a0", "t1", "a1")] == ["ask_dispatch"]
    assert ORG.watching("a0", "t0", "a2") == ()


def test_a_copy_with_other_agents_is_asked_for_its_own() -> None:
    """Indexes are kept beside the fields, and pydantic copies what it finds there."""
    check(ORG)
    fewer = ORG.model_copy(update={"agents": ORG.agents[:6], "humans": ORG.humans[1:]})
    check(fewer)
    assert "a8" not in fewer.agents_by_id
    assert fewer.people == {"boss"}
    assert fewer == ORG.model_copy(update={"agents": ORG.agents[:6], "humans": ORG.humans[1:]})
