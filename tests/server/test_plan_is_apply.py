"""What `clawbus plan` shows is what `clawbus apply` does: seen in its steps, and on the server before and after."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from clawbus.bus import Bus
from clawbus.bus.jwt import claims_of, read_creds
from clawbus.client.company import Company
from clawbus.ops.apply import Change, plan
from clawbus.ops.apply.apply import apply_bus, write_server_config
from clawbus.provision.accounts import ACCOUNTS
from clawbus.provision.authority import Authority
from clawbus.provision.config import resolver_dir
from clawbus.provision.key_directory import published
from clawbus.provision.key_steps import account_steps, key_steps
from clawbus.provision.permissions import grants
from clawbus.provision.plan import Desired
from tests.company import Live, free_ports, live, until

pytestmark = pytest.mark.timeout(300)

HEAD = 'company = "acme"\nbus.port = {port}\n{more}[[humans]]\nid = "owner"\n'
GATEWAY = '[[gateways]]\nid = "{0}"\nkind = "program"\n'
AGENT = '[[agents]]\nid = "{0}"\ngateway = "{1}"\nteam = "{2}"\nrole = "{3}"\n'
ON_THE_SERVER = ("key", "account", "bus", "directory")
Steps = list[tuple[str, str, str]]
State = dict[tuple[str, str], Any]


def org_toml(port: int, agents: dict[str, tuple[str, str, str]], more: str = "", tail: str = "") -> str:
    """A company of these agents: id -> gateway, team, role."""
    homes = dict.fromkeys(gateway for gateway, _, _ in agents.values())
    return (
        HEAD.format(port=port, more=more)
        + "".join(GATEWAY.format(home) for home in homes)
        + "".join(AGENT.format(agent, *of) for agent, of in agents.items())
        + tail
    )


START = {"a": ("east", "dev", "role-qa"), "b": ("west", "dev", "role-qa"), "c": ("west", "ops", "role-qa")}
CHANGES: dict[str, tuple[dict[str, tuple[str, str, str]], str, str]] = {
    "an agent more, on a gateway of its own": (START | {"d": ("north", "dev", "role-qa")}, "", ""),
    "an agent less": ({name: of for name, of in START.items() if name != "c"}, "", ""),
    "a gateway less": ({"b": START["b"]}, "", ""),
    "two agents change places": (START | {"a": ("west", "dev", "role-qa"), "b": ("east", "dev", "role-qa")}, "", ""),
    "another team": (START | {"a": ("east", "new", "role-qa")}, "", ""),
    "a stream's size": (START, "streams.events = 32\n", ""),
    "a lease": (START, "policies.lease = 30\n", ""),
    "another role": (START | {"a": ("east", "dev", "role-cto")}, "", ""),
    "guests are let in": (START, "guests.enabled = true\n", ""),
    "a person more": (START, "", '[[humans]]\nid = "boss"\n'),
    "a pool": (START, "", '[[pools]]\nid = "all-of-them"\nmembers = ["a", "b"]\n'),
}
FIRST = next(iter(CHANGES))
NOTHING_ON_THE_SERVER = {"another role"}


def shown_by_the_command(file: Path) -> Steps:
    """The steps on the server that `clawbus plan` shows."""
    command = [sys.executable, "-m", "clawbus", "plan", "--json", "--org", str(file)]
    shown = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert shown["bus"] is True
    return _on_the_server(Change(**one) for one in shown["changes"])


async def planned(file: Path) -> Steps:
    """The same, asked for in this process."""
    company = Company.open(file)
    async with company.connect("provisioner") as bus:
        return _on_the_server(await plan(company, bus, None))


def _on_the_server(changes: Iterable[Change]) -> Steps:
    return [(one.area, one.name, one.what) for one in changes if one.area in ON_THE_SERVER]


async def applied(file: Path, caplog: pytest.LogCaptureFixture) -> Steps:
    """The steps that `clawbus apply` takes."""
    caplog.clear()
    with caplog.at_level(logging.INFO, "clawbus.provision.plan"):
        await apply_bus(Company.open(file), {}, lambda _: None)
    taken = [one.args for one in caplog.records if one.name == "clawbus.provision.plan"]
    return [(str(args[0]), str(args[1]), str(args[2])) for args in taken if isinstance(args, tuple)]


async def seen(company: Company) -> State:
    """What stands on the server, and in the files of keys."""
    authority, state = Authority(company.home), State()
    accounts: dict[str, Any] = {}
    templates: dict[str, Any] = {}
    for name in ACCOUNTS:
        file = resolver_dir(company.home) / f"{authority.key(name).public_key}.jwt"  # the server keeps them there
        accounts[name] = claims_of(file.read_text())["nats"]
        templates |= {one["role"]: one["template"] for one in accounts[name].get("signing_keys", ())}
    state["account", "nats-server"] = accounts
    for creds in company.home.dir("keys").glob("*.creds"):
        claims = claims_of(read_creds(creds))
        grant = grants(company.org).get(creds.stem)
        state["key", creds.stem] = claims["sub"], claims["nats"]["tags"], templates[grant.role] if grant else None
    async with company.connect("provisioner") as bus:
        state |= {("directory", name): entry for name, entry in (await published(bus, company.org)).items()}
        for stream in await names(bus, "STREAM.NAMES", "streams"):
            state["bus", stream] = (await bus.api(f"STREAM.INFO.{stream}"))["config"]
            for durable in await names(bus, f"CONSUMER.NAMES.{stream}", "consumers"):
                state["bus", f"{stream}/{durable}"] = (await bus.api(f"CONSUMER.INFO.{stream}.{durable}"))["config"]
    return state


async def names(bus: Bus, method: str, field: str) -> list[str]:
    found: list[str] = (await bus.api(method))[field] or []
    return found


def difference(before: State, after: State) -> set[tuple[str, str, str]]:
    changed = {key for key in before.keys() & after.keys() if before[key] != after[key]}
    return (
        {(*key, "changed") for key in changed}
        | {(*key, "new") for key in after.keys() - before.keys()}
        | {(*key, "removed") for key in before.keys() - after.keys()}
    )


async def a_new_second(company: Live) -> None:
    """A key that is revoked twice within a second stands in its account as if once: nothing would be seen of it."""
    last = max((at for name in ACCOUNTS for at in Authority(company.home).revoked(name).values()), default=0)

    async def over() -> bool:
        return time.time() > last + 1

    await until(over, "the next second")


async def test_each_change_is_planned_as_it_is_applied(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """There and back again: the steps shown, taken and seen on the server are the same; then there are none."""
    port = free_ports(1)[0]
    start = org_toml(port, START)
    async with live(tmp_path, None, toml=start) as company:
        for name in grants(company.org):
            company.company.identity(name)
        assert await planned(company.org_file) == []
        for change, (agents, more, tail) in CHANGES.items():
            for text in (org_toml(port, agents, more, tail), start):
                before = await seen(Company.open(company.org_file))
                await a_new_second(company)
                company.org_file.write_text(text)
                shown = await planned(company.org_file)
                if change == FIRST:
                    assert shown == await asyncio.to_thread(shown_by_the_command, company.org_file)
                assert shown == await applied(company.org_file, caplog), change
                after = await seen(Company.open(company.org_file))
                assert {*_as_seen(shown, before, after)} == difference(before, after), change
                assert bool(shown) is (change not in NOTHING_ON_THE_SERVER), change
                assert await planned(company.org_file) == [], change


def _as_seen(shown: Steps, before: State, after: State) -> Steps:
    """A member that has left or comes back is an entry that changes: the directory forgets nobody."""
    return [
        (area, name, "changed" if area == "directory" and (area, name) in before.keys() & after.keys() else what)
        for area, name, what in shown
    ]


async def test_an_apply_that_was_cut_short_is_planned_to_its_end(bus_of_two: Live) -> None:
    """What a first `apply` has left undone is what `plan` shows, and what the second one does."""
    company, file = bus_of_two, bus_of_two.org_file
    port = company.org.bus.port
    file.write_text(org_toml(port, START | {"d": ("north", "dev", "role-qa")}, "", ""))
    changed = Company.open(file)
    whole = await planned(file)
    desired = Desired.of(changed.org)
    for step in key_steps(changed.home, desired):  # and no further
        assert step.do is not None
        await step.do()
    left = await planned(file)
    assert [step for step in whole if step[0] != "key"] == left
    await apply_bus(changed, {}, lambda _: None)
    assert await planned(file) == []


@pytest.fixture
async def bus_of_two(tmp_path: Path) -> Any:
    async with live(tmp_path, None, toml=org_toml(free_ports(1)[0], START)) as company:
        for name in grants(company.org):
            company.company.identity(name)
        yield company


async def test_on_somebody_elses_server_the_accounts_are_a_file_and_a_step(tmp_path: Path) -> None:
    file = tmp_path / "org.toml"

    async def steps(more: str = "") -> list[tuple[str, str, str]]:
        file.write_text(org_toml(0, START, more).replace("bus.port = 0", 'bus.url = "nats://127.0.0.1:1"'))
        org, home = Company.open(file).org, Company.open(file).home
        keys = key_steps(home, Desired.of(org))
        found = [*keys, *await account_steps(home, Desired.of(org), keys)]
        return [(step.area, step.name, step.what) for step in found]

    new = await steps()
    assert {what for _, _, what in new} == {"new"}
    assert {name for area, name, _ in new if area == "key"} == {
        "provisioner",
        "steward",
        "gw-east",
        "gw-west",
        "me-owner",
    }
    assert new[-1] == ("account", "account.conf", "new")
    write_server_config(Company.open(file))
    assert await steps() == []
    assert {*await steps("guests.enabled = true\n")} == {
        ("key", "steward", "changed"), ("key", "guest", "new"), ("account", "account.conf", "changed")
    }  # fmt: skip
    write_server_config(Company.open(file))
    assert await steps("guests.enabled = true\n") == []
