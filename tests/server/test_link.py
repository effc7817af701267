"""What the server says beside its answers, and what lies in the files, must not end a connection for good."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clawbus.bus import Bus
from clawbus.bus.credential_renewal import Renewable, keep_fresh
from clawbus.bus.identity import Identity, load_or_create
from clawbus.bus.jwt import write_creds
from clawbus.errors import Refused
from clawbus.provision import server
from clawbus.provision.account_push import push
from clawbus.provision.authority import Authority
from clawbus.provision.credentials import mint
from clawbus.wire.subjects import new_message_id
from tests.company import Live, free_ports, live, until

TOML = """
company = "acme"
bus.port = {ports[0]}
[[gateways]]
id = "shop"
kind = "program"
[[agents]]
id = "authorization-bot"
role = "role-ceo"
gateway = "shop"
[[humans]]
id = "owner"
"""


@pytest.fixture
async def firm(tmp_path: Path) -> AsyncIterator[Live]:
    async with live(tmp_path, None, toml=TOML.format(ports=free_ports(1))) as company:
        yield company


async def test_a_forbidden_subject_is_no_refused_key_whatever_an_agent_is_called(firm: Live) -> None:
    """The server's words repeat the subject; one that sounds like refused credentials must not be taken for that."""
    async with firm.owner() as bus:
        with pytest.raises(Refused, match="may not publish"):
            await bus.publish("acme.dm.owner.authorization-bot", b"{}", msg_id=new_message_id("owner"))
        assert not bus.refused


async def test_a_connection_outlives_credentials_that_cannot_be_read(firm: Live) -> None:
    """While it is refused its file goes, and comes back: it is let in again, and hears on."""
    heard: list[bytes] = []
    async with firm.owner() as bus, firm.company.connect("provisioner") as other:
        me, subjects = bus.identity, firm.company.subjects
        await bus.listen(subjects.everything("alerts"), lambda message: heard.append(message.data))
        alerts = subjects.everything("alerts").replace("*", "x").replace(">", "x")
        Authority(firm.home).revoke("STAFF", me.public_key)
        assert me.creds_file is not None
        me.creds_file.unlink()
        assert await push(firm.home, firm.org)

        async def refused() -> bool:
            return bus.refused

        await until(refused, "the refusal")
        write_creds(me.creds_file, mint(firm.home, firm.org, me.name, me.public_key, 600), me.seed_file)

        async def back() -> bool:
            return bus.up and not bus.refused

        await until(back, "the way back")
        await bus.flush()
        await other.tell(alerts, b"1")

        async def all_of_it() -> bool:
            return heard == [b"1"]

        await until(all_of_it, "what was said")


@contextlib.asynccontextmanager
async def slow_road(to: int) -> AsyncIterator[int]:
    """A port that leads to another one. What the first caller says does not arrive; what he is told does."""
    calls: list[asyncio.Task[None] | None] = []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(4096):
                writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(asyncio.current_task())
        theirs, ours = await asyncio.open_connection("127.0.0.1", to)
        try:
            await asyncio.gather(carry(theirs, writer), *([carry(reader, ours)] if len(calls) > 1 else []))
        finally:
            for one in (ours, writer):
                one.close()
                with contextlib.suppress(OSError):
                    await one.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
    await asyncio.gather(*filter(None, calls))


async def test_who_was_too_slow_for_the_server_is_not_refused(tmp_path: Path) -> None:
    """`Authentication Timeout` looks like a refusal, and is none: the key is good at the next try."""
    me = load_or_create("gw-shop", tmp_path / "gw-shop.nk")
    port, config = free_ports(1)[0], tmp_path / "nats.conf"
    config.write_text(
        f"listen: 127.0.0.1:{port}\nauthorization {{ timeout: 0.5, users: [ {{ nkey: {me.public_key} }} ] }}\n"
    )
    process = subprocess.Popen(server.command(server.find_server(), config), env={}, stderr=subprocess.DEVNULL)
    try:
        await server.wait_ready(port, 10)
        async with slow_road(port) as road, Bus.connect(f"nats://127.0.0.1:{road}", me, "slow", 20) as bus:
            assert bus.up
            assert not bus.refused
    finally:
        process.terminate()
        process.wait()


async def test_a_full_disk_does_not_end_the_renewal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again; else the key would be shut out when its credentials end."""
    monkeypatch.setattr("clawbus.bus.credential_renewal._RETRY_S", 0.01)
    monkeypatch.setattr("clawbus.bus.credential_renewal.read_creds", lambda _: "old")
    monkeypatch.setattr("clawbus.bus.credential_renewal._until_half", lambda _: 0.0)
    tries = asyncio.Queue[int]()

    class Here:
        identity = Identity("gw-shop", "", tmp_path, tmp_path / "x.creds")

        async def reconnect(self) -> None: ...

        async def ask(self, subject: str, data: bytes, timeout_s: float = 5.0) -> bytes:
            raise AssertionError

    async def renew(_: Renewable) -> None:
        tries.put_nowait(1)
        raise OSError(28, "No space left on device")

    keeping = asyncio.create_task(keep_fresh(Here(), renew))
    for _ in range(2):
        await asyncio.wait_for(tries.get(), 5)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
