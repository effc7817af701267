"""Who holds a stolen key holds as many connections as he gets: people still stop the company, and make the key anew."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clawbus.bus import Bus
from clawbus.errors import BusAway, BusFull
from clawbus.provision import server
from clawbus.provision.account_push import push
from clawbus.provision.accounts import ACCOUNTS, most_connections
from clawbus.provision.config import write_config
from tests.company import Live, free_ports, live, until
from tests.server.test_new_keys import TOML
from tests.trying import Trying, TurnedAway, trying
from tests.up import Up

pytestmark = pytest.mark.timeout(180)

MORE = """
[[gateways]]
id = "{name}"
kind = "program"
[[agents]]
id = "of-{name}"
gateway = "{name}"
"""


def grown(toml: str, count: int) -> str:
    return toml + "".join(MORE.format(name=f"more-{number}") for number in range(count))


@contextlib.asynccontextmanager
async def all_there_are(url: str, creds: Path) -> AsyncIterator[list[Trying]]:
    """Every connection that the server gives to who holds this file."""
    async with contextlib.AsyncExitStack() as stack:
        held: list[Trying] = []
        with contextlib.suppress(TurnedAway):
            for _ in range(2000):
                held.append(await stack.enter_async_context(trying(url, creds)))  # noqa: PERF401 - until one raises
        yield held


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[Up]:
    company = Up(tmp_path, TOML.format(ports=free_ports(2)) + "[guests]\nenabled = true\n")
    try:
        await company.ready()
        company.live.launch("program-hq")
        await company.live.ready("program-hq")
        yield company
    finally:
        company.live.end()
        company.end()


async def test_people_keep_the_kill_switch_and_the_remedy(up: Up, tmp_path: Path) -> None:
    """With every connection taken that a gateway's and the guests' key open, each of these goes on at once."""
    loot, url = shutil.copytree(up.live.home.root / "keys", tmp_path / "stolen"), up.live.org.url

    async def runs(*words: str) -> str:
        async with asyncio.timeout(15):
            done = await asyncio.to_thread(up.run, *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    async with (
        all_there_are(url, loot / "gw-lab.creds") as agents,
        all_there_are(url, loot / "guest.creds") as guests,
    ):
        assert len(agents) > 1
        assert guests
        assert "their nodes obey" in await runs("stop", "--all")
        await runs("resume", "--all")
        assert "still there?" in await runs("ask", "ceo", "still there?")
        await runs("alerts")
        await runs("apply", "--new-key", "gw-lab", "--new-key", "guest")
        for one in (*agents, *guests):
            with contextlib.suppress(OSError), pytest.raises(TurnedAway):
                await one.answered()


async def test_full_is_told_from_away_and_the_remedy_is_named(up: Up) -> None:
    """A gateway that comes while its account is full is told so, in words of its own."""
    me = up.live.company.identity("gw-lab")
    assert me.creds_file is not None
    async with all_there_are(up.live.org.url, me.creds_file):
        with pytest.raises(BusFull, match=r"is full: too many are connected.*\n.*apply --new-key KEY"):
            async with Bus.connect(up.live.org.url, me, "one more", 1.0):
                pass
    async with Bus.connect(up.live.org.url, me, "one more", 10.0) as bus:
        assert bus.up


@contextlib.asynccontextmanager
async def the_one_place(url: str, creds: Path | None) -> AsyncIterator[None]:
    """Hold it, once the server has missed whoever asked whether it is up."""
    async with contextlib.AsyncExitStack() as stack:

        async def held() -> bool:
            with contextlib.suppress(TurnedAway):
                await stack.enter_async_context(trying(url, creds))
                return True
            return False

        await until(held, "the only connection", 10)
        yield


async def test_a_server_that_is_full_as_a_whole_is_told_from_none(tmp_path: Path) -> None:
    """It says so to people, too, who have no bound of their own: no `clawbus up` would help them."""
    company = Live(tmp_path, TOML.format(ports=free_ports(2)), None, "")
    config = write_config(company.home, company.org)
    config.write_text(re.sub(r"max_connections: \d+", "max_connections: 1", config.read_text()))
    process = subprocess.Popen(server.command(server.find_server(), config))
    try:
        await server.wait_ready(company.org.bus.port, 20)
        async with the_one_place(company.org.url, company.company.identity("me-owner").creds_file):
            with pytest.raises(BusFull, match="is full"):
                async with company.company.connect("me-owner", wait_s=1.0):
                    pass
    finally:
        process.terminate()
        process.wait(20)
    with pytest.raises(BusAway, match="no nats-server answers"):
        async with company.company.connect("me-owner", wait_s=0.5):
            pass


async def test_a_company_that_grows_has_room_for_its_new_gateways(tmp_path: Path) -> None:
    """The server is told of the new bound while it runs: nobody has to start it anew."""
    toml = TOML.format(ports=free_ports(2))
    async with live(tmp_path, None, toml=toml) as company:
        creds = company.company.identity("gw-lab").creds_file
        assert creds is not None
        async with all_there_are(company.org.url, creds) as held:
            few = len(held)
        after = Live(tmp_path, grown(toml, 30), None, "")
        assert await push(after.home, after.org)
        async with all_there_are(company.org.url, creds) as held:
            assert len(held) == few + 30 * 4


@pytest.mark.parametrize("count", [0, 20, 400])
def test_the_server_has_room_for_people_beside_all_others(tmp_path: Path, count: int) -> None:
    """However large the company: what the others may hold together is less than what the server lets in."""
    company = Live(tmp_path, grown(TOML.format(ports=free_ports(2)), count), None, "")
    config = write_config(company.home, company.org).read_text()
    (most,) = re.findall(r"max_connections: (\d+)", config)
    bounds = [most_connections(company.org, account) for account in ACCOUNTS]
    assert int(most) - sum(filter(None, bounds)) >= 500
    agents = most_connections(company.org, "AGENTS") or 0
    assert agents >= 2 * (count + 2)  # a node that comes back has one that the server has not missed yet
