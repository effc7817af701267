"""Telling the server who may do what, and who counts no more: several processes of one company may do so at once."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from clawbus import connect
from clawbus.bus import Bus
from clawbus.bus.jwt import claims_of, read_creds, write_creds
from clawbus.client.company import Company
from clawbus.errors import Refused
from clawbus.ops.apply.apply import apply_bus
from clawbus.provision.account_push import push
from clawbus.provision.accounts import ACCOUNTS
from clawbus.provision.authority import Authority
from clawbus.provision.config import resolver_dir
from clawbus.settings import Home, write_secret
from tests.company import Live, free_ports, live
from tests.server.crew import crew, crew_toml

pytestmark = pytest.mark.timeout(120)

REVOKING = """
import sys
from pathlib import Path
from clawbus.provision.authority import Authority
from clawbus.settings import Home
print("ready", flush=True)
sys.stdin.readline()
for number in range(100):
    Authority(Home(Path(sys.argv[1]))).revoke("AGENTS", f"{sys.argv[2]}-{number}")
"""
TELLING = """
import asyncio, sys
from pathlib import Path
from clawbus.client.company import Company
from clawbus.provision.account_push import push
company = Company.open(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for _ in range(5):
    asyncio.run(push(company.home, company.org))
"""


def at_once(script: str, *argv: list[str]) -> None:
    """Run it in several processes, which begin together; each has to succeed."""
    pipe = subprocess.PIPE
    running = [
        subprocess.Popen([sys.executable, "-c", script, *one], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        for one in argv
    ]
    for one in running:
        assert one.stdin is not None
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in running:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    for one in running:
        _, said = one.communicate(timeout=60)
        assert one.returncode == 0, said


@pytest.fixture
async def bus_only(tmp_path: Path) -> AsyncIterator[Live]:
    async with live(tmp_path, None) as company:
        yield company


def test_no_revocation_is_lost_when_two_revoke_at_once(tmp_path: Path) -> None:
    """`clawbus apply` for a stolen key, and the registrar for a machine that is let in anew."""
    home = Home(tmp_path / ".clawbus")
    at_once(REVOKING, [str(home.root), "a"], [str(home.root), "b"], [str(home.root), "c"])
    assert len(Authority(home).revoked("AGENTS")) == 300
    assert {path.stat().st_mode & 0o777 for path in (home.root / "authority").iterdir()} == {0o600}


def test_who_was_revoked_before_keys_had_accounts_stays_revoked(tmp_path: Path) -> None:
    """A file of an earlier state names keys alone: each counts in every account, also when others are revoked later."""
    authority = Authority(Home(tmp_path / ".clawbus"))
    write_secret(authority.home.dir("authority") / "revoked.json", json.dumps({"UOLD": 17}))
    assert {account: authority.revoked(account) for account in ACCOUNTS} == {one: {"UOLD": 17} for one in ACCOUNTS}
    authority.revoke("AGENTS", "UNEW")
    assert {*authority.revoked("AGENTS")} == {"UOLD", "UNEW"}
    assert authority.revoked("STAFF") == {"UOLD": 17}


async def test_several_tell_the_server_at_once(bus_only: Live) -> None:
    """None takes the other's credentials away, none tells of accounts as they were before; nothing of it stays."""
    await asyncio.to_thread(at_once, TELLING, *[[str(bus_only.org_file)]] * 3)
    assert not list((bus_only.home.root / "authority").glob("*.creds"))


async def test_who_tells_the_server_last_tells_of_every_revocation(bus_only: Live) -> None:
    """One process that revokes while others tell: what the server keeps in the end names all whom it has revoked."""
    authority = Authority(bus_only.home)
    names = [bus_only.company.identity(name).public_key for name in ("gw-hq", "gw-lab", "me-owner")]

    async def revoke() -> None:
        for name in names:
            authority.revoke("AGENTS", name)
            assert await push(bus_only.home, bus_only.org)

    await asyncio.gather(asyncio.to_thread(at_once, TELLING, *[[str(bus_only.org_file)]] * 2), revoke())
    kept = resolver_dir(bus_only.home) / f"{authority.key('AGENTS').public_key}.jwt"
    assert {*claims_of(kept.read_text())["nats"]["revocations"]} == {*names}
    assert {*json.loads((bus_only.home.root / "authority" / "revoked.json").read_text())["AGENTS"]} == {*names}


async def test_a_task_finds_its_way_after_the_server_was_told(tmp_path: Path) -> None:
    """Told of an account that exports services, it would forget who waits: the task would wait for its lease."""

    async def mind(_one: object, _agent: str, _task: object) -> str:
        return "done"

    toml = crew_toml(free_ports(1)[0], 1).replace("lease_s = 10", "lease_s = 60")
    async with live(tmp_path, None, toml=toml) as company, crew(company, mind), connect(company.org_file) as client:
        assert (await client.ask("w0", "one", timeout_s=30)).text == "done"
        Authority(company.home).revoke("AGENTS", "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4")
        assert await push(company.home, company.org)
        assert (await client.ask("w0", "two", timeout_s=30)).text == "done"


async def test_whom_apply_revokes_while_the_server_is_down_is_revoked(tmp_path: Path) -> None:
    """An agent goes to another gateway before the start: what its old gateway's credentials say counts no more."""
    async with live(tmp_path, None) as company:
        old = company.company.identity("gw-lab")
        stolen = company.home.dir("stolen") / "gw-lab.creds"
        write_creds(stolen, read_creds(old.creds_file or Path()), old.seed_file)
        company.kill("nats-server")
        text = company.org_file.read_text()
        company.org_file.write_text(text.replace('gateway = "lab"\n', 'gateway = "hq"\n'))
        await company.start("nats-server")
        await apply_bus(Company.open(company.org_file), {}, lambda _: None)
        with pytest.raises(Refused):
            async with Bus.connect(company.org.url, replace(old, creds_file=stolen), "thief"):
                pass
