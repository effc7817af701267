"""Companies, teams, agents: one org file; two companies on one server are two worlds."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clawbus import connect
from clawbus.errors import ClawbusError, Refused
from clawbus.ops.apply.apply import write_server_config
from clawbus.org import load
from clawbus.provision import server
from clawbus.provision.plan import provision
from clawbus.wire.channels import TASKS
from tests.company import Live, free_ports, until

TOML = """
company = "{name}"
bus.url = "nats://127.0.0.1:{port}"
[[gateways]]
id = "hq"
kind = "program"
[[agents]]
id = "ceo"
role = "role-ceo"
gateway = "hq"
"""


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[tuple[Live, Live]]:
    """Two companies of the same name and the same ids, each an account of one real nats-server."""
    (port,) = free_ports(1)
    made = []
    for folder in (tmp_path / "one", tmp_path / "other"):
        folder.mkdir()
        made.append(Live(folder, TOML.format(name="acme", port=port), None, ""))
    config = tmp_path / "server.conf"
    files = [os.path.relpath(write_server_config(one.company), tmp_path) for one in made]
    second = (tmp_path / files[1]).read_text()  # its operator names accounts
    for account in ("acme", "acme-staff", "acme-agents", "acme-guests"):
        second = second.replace(f'"{account}"', f'"other-{account}"')
    (tmp_path / files[1]).write_text(second)
    accounts = "\n".join(f'include "{file}"' for file in files)
    store = tmp_path / "store"
    config.write_text(
        f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{store}" }}\naccounts {{\n{accounts}\n}}\n'
    )
    process = subprocess.Popen(server.command(server.find_server(), config), stderr=subprocess.DEVNULL)
    try:
        await server.wait_ready(port, 15)
        for one in made:
            await one.provision()
        yield made[0], made[1]
    finally:
        for one in made:
            one.end()
        process.kill()
        process.wait(10)


async def test_k1_two_companies_on_one_server_do_not_see_each_other(two: tuple[Live, Live]) -> None:
    """The same subjects, the same ids: a task of one is answered in it, and leaves no trace in the other."""
    one, other = two
    await one.start("program-hq")
    heard: list[str] = []
    async with connect(one.org_file) as here, other.owner() as spy:
        stop = await spy.listen("acme.events.*.*", lambda message: heard.append(message.subject))
        assert (await here.ask("ceo", "hello", timeout_s=20)).text == "hello (attempt 1)"
        async with connect(other.org_file) as there:
            waits = await there.start("ceo", "nobody works here")
            await until(lambda: _any(heard), "its own event")  # what was said before it has been heard by now
            assert [view.task_id for view in await there.tasks()] == [waits.id]
            assert await there.inbox("ceo") == []
        assert {subject.split(".")[2] for subject in heard} == {waits.id}
        info = await spy.api(f"STREAM.INFO.{TASKS}")
        assert info["state"]["messages"] == 1
        await stop()


async def _any(heard: list[str]) -> bool:
    return bool(heard)


async def test_k1_a_key_of_one_company_opens_nothing_of_the_other(two: tuple[Live, Live]) -> None:
    """Not even the provisioner's, which may do everything at home."""
    one, other = two
    async with connect(other.org_file) as there:
        await there.start("ceo", "a secret")
    async with one.company.connect("provisioner") as bus:
        assert (await bus.api(f"STREAM.INFO.{TASKS}"))["state"]["messages"] == 0
        assert await bus.stored(TASKS, "acme.>") == []


async def test_k1_a_second_company_in_the_same_account_is_refused_with_the_reason(
    bus_only: Live, tmp_path: Path
) -> None:
    """Its streams would have the same names: nothing of the first is touched."""
    folder = tmp_path / "second"
    folder.mkdir()
    (folder / "org.toml").write_text(TOML.format(name="globex", port=bus_only.org.bus.port))
    async with bus_only.company.connect("provisioner") as bus:
        with pytest.raises(Refused, match="this company is globex") as refused:
            await provision(bus, load(folder / "org.toml"))
        assert "give each company an account of its own" in refused.value.remedy
        text = (folder / "org.toml").read_text()
        (folder / "org.toml").write_text(re.sub(r"bus\.url = .*", "", text))  # a server of its own: it had another name
        with pytest.raises(Refused, match="this company is globex") as refused:
            await provision(bus, load(folder / "org.toml"))
        assert 'Write company = "acme" again' in refused.value.remedy
        (kept, _) = (await bus.api(f"STREAM.INFO.{TASKS}"))["config"]["subjects"]
        assert kept == "acme.tasks.*.*.*"


@pytest.mark.parametrize("role", ["cto", "role-", "Role-cto", "role-cto!", "role cto"])
def test_k1_a_role_is_a_slug(tmp_path: Path, role: str) -> None:
    """`role-cto`; anything else is refused with the line, the field and the remedy."""
    (tmp_path / "org.toml").write_text(TOML.format(name="acme", port=4222).replace("role-ceo", role))
    with pytest.raises(ClawbusError) as refused:
        load(tmp_path / "org.toml")
    assert f"line 9: agents[ceo].role = {role!r}: not a role. Write a slug" in str(refused.value)
