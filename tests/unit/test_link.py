"""What the server says beside its answers, and what lies in the files, must not end a connection for good."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clawbus.bus.renewal import Renewable, keep_fresh
from clawbus.errors import Refused
from clawbus.identity import Identity
from clawbus.jwt import write_creds
from clawbus.provision.authority import Authority
from clawbus.provision.claims import push
from clawbus.provision.issuer import mint
from clawbus.subjects import new_message_id
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


async def test_a_full_disk_does_not_end_the_renewal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again; else the key would be shut out when its credentials end."""
    monkeypatch.setattr("clawbus.bus.renewal._RETRY_S", 0.01)
    monkeypatch.setattr("clawbus.bus.renewal.read_creds", lambda _: "old")
    monkeypatch.setattr("clawbus.bus.renewal._until_half", lambda _: 0.0)
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
