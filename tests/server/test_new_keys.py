"""`clawbus apply --new-key`: what mends a theft, as docs/security.md says; a real `clawbus up`, real copies of the files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from clawbus.bus import Bus
from clawbus.bus.signing import Signer
from clawbus.errors import ClawbusError, Unverified
from clawbus.gateway.setup import managed_gateway as own
from clawbus.wire.subjects import new_message_id
from tests.company import Live, free_ports, until
from tests.up import Up

STOLEN = ("gw-lab", "me-owner", "steward")
TOML = """
company = "acme"
model = "scripted"
policies.lease_s = 10
bus.port = {ports[0]}
[[gateways]]
id = "hq"
kind = "program"
[[gateways]]
id = "lab"
own = false
port = {ports[1]}
token_file = "lab.token"
[[agents]]
id = "ceo"
gateway = "hq"
[[agents]]
id = "cto"
reports_to = "ceo"
gateway = "lab"
[[humans]]
id = "owner"
"""


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[Up]:
    company = Up(tmp_path, TOML.format(ports=free_ports(2)))
    try:
        await company.ready()
        yield company
    finally:
        company.live.end()
        company.end()


def copied(up: Up, folder: Path) -> Path:
    """All of `keys`, as a thief has it."""
    return shutil.copytree(up.live.home.root / "keys", folder / "stolen")


@contextlib.asynccontextmanager
async def thief(up: Up, loot: Path, name: str) -> AsyncIterator[Bus]:
    me = up.live.company.identity(name)
    his = replace(me, seed_file=loot / f"{name}.nk", creds_file=loot / f"{name}.creds")
    async with Bus.connect(up.live.org.url, his, "thief", 2.0) as bus:
        yield bus


@pytest.mark.timeout(180)
async def test_a_stolen_key_opens_nothing_once_it_is_made_anew(up: Up, tmp_path: Path) -> None:
    """Its connections are cut at once, no new one is let in, its signature counts no more; the company works on."""
    loot = copied(up, tmp_path)
    before = {name: up.pid(name) for name in ("node-lab", "steward", "nats-server")}
    async with contextlib.AsyncExitStack() as stack:
        inside = {name: await stack.enter_async_context(thief(up, loot, name)) for name in STOLEN}
        for bus in inside.values():
            await bus.flush()
        words = [word for name in STOLEN for word in ("--new-key", name)]
        done = await asyncio.to_thread(up.run, "apply", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "new keys: gw-lab, me-owner, steward; restarted: node-lab, steward" in done.stdout

        for name, bus in inside.items():

            async def cut(bus: Bus = bus) -> bool:
                try:
                    await asyncio.wait_for(bus.flush(), 1)
                except (ClawbusError, TimeoutError, OSError):
                    return True
                return False

            await until(cut, f"the end of {name}'s connection", 20)
    for name in STOLEN:
        with pytest.raises(ClawbusError):
            async with thief(up, loot, name) as bus:
                await bus.flush()
    await forged(up, loot)

    async def again() -> bool:
        with contextlib.suppress(OSError, ValueError):
            return all(up.pid(name) != before[name] for name in ("node-lab", "steward"))
        return False

    await until(again, "the restart of who held them", 60)
    assert up.pid("nats-server") == before["nats-server"]
    up.live.launch("program-hq")
    await up.live.ready("program-hq")
    done = await asyncio.to_thread(up.run, "ask", "ceo", "still there?")
    assert "still there?" in done.stdout, done.stdout + done.stderr


async def forged(up: Up, loot: Path) -> None:
    """What the agents and the person sign with was made anew, too: the old signature is nobody's."""
    subjects = up.live.company.subjects
    async with up.live.company.connect("gw-lab") as bus, up.live.owner() as owner:
        bus.signers = {"cto": Signer("acme", "cto", loot / "agent-cto.nk")}
        ack = await bus.publish(subjects.dm("owner", "cto"), b"{}", msg_id=new_message_id("cto"))
        assert ack.seq
        (stored,) = await owner.stored("INBOX", subjects.dm("owner", "cto"))
        with pytest.raises(Unverified, match="forged"):
            await owner.verifier.check(stored)


async def test_only_keys_of_the_company_are_made_anew(up: Up) -> None:
    """A slip of the hand changes nothing."""
    before = sorted((path.name, path.read_bytes()) for path in (up.live.home.root / "keys").iterdir())
    done = await asyncio.to_thread(up.run, "apply", "--new-key", "gw-lab", "--new-key", "gw-nowhere")
    assert done.returncode == 4
    assert "has no key 'gw-nowhere'" in done.stderr
    assert sorted((path.name, path.read_bytes()) for path in (up.live.home.root / "keys").iterdir()) == before
    assert os.access(up.live.home.key("gw-lab"), os.R_OK)


def test_a_gateways_token_is_made_anew_where_it_was_removed(tmp_path: Path) -> None:
    """At the next `clawbus up`, for its own gateways; as what the page says of a stolen one."""
    toml = TOML.format(ports=free_ports(2)).replace("own = false\n", "").replace('token_file = "lab.token"\n', "")
    live = Live(tmp_path, toml, None, "")
    found = []
    for _ in range(2):
        mine = own.write_settings(live.home, live.org, "lab", tmp_path / "plugin", "http://127.0.0.1:1/v1")
        assert mine.token_file.stat().st_mode & 0o777 == 0o600
        found.append(mine.token_file.read_text())
        mine.token_file.unlink()
    assert len({*found}) == 2
