"""The loopback is never behind a proxy: what children get in NO_PROXY, and the webhook of a person on this machine."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from clawbus.gateway.setup import managed_gateway as own
from clawbus.org import load
from clawbus.settings import Home, child_environment, npm_environment, user_environment
from clawbus.steward.webhook import post
from tests.company import duo_toml, free_ports

DEAD = "http://127.0.0.1:9"
LOOPBACK = "127.0.0.1,localhost,::1"
PROXIES = [spelt for name in ("http_proxy", "https_proxy", "all_proxy") for spelt in (name, name.upper())]


@pytest.fixture(autouse=True)
def behind_dead_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.setenv(name, DEAD)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("said", "got"),
    [
        ({}, LOOPBACK),
        ({"NO_PROXY": "corp.example, .lan"}, f"corp.example,.lan,{LOOPBACK}"),
        ({"no_proxy": "10.0.0.0/8,localhost"}, "10.0.0.0/8,localhost,127.0.0.1,::1"),
        ({"NO_PROXY": "a.example", "no_proxy": "b.example"}, f"a.example,b.example,{LOOPBACK}"),
        ({"NO_PROXY": ""}, LOOPBACK),
        ({"no_proxy": "*"}, "*"),
    ],
)
def test_what_goes_past_the_proxies_is_the_users_and_the_loopback(
    said: dict[str, str], got: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In both spellings, of every child; who downloads keeps the user's proxies."""
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    for env in (child_environment(), user_environment(), npm_environment()):
        assert (env["NO_PROXY"], env["no_proxy"]) == (got, got)
        assert {env[name] for name in PROXIES} == {DEAD}


def test_an_own_gateway_gets_it(tmp_path: Path) -> None:
    (tmp_path / "org.toml").write_text(duo_toml(free_ports(3)))
    env = own.environment(own.locate(Home(tmp_path / ".clawbus"), load(tmp_path / "org.toml"), "hq"))
    assert (env["NO_PROXY"], env["no_proxy"], env["HTTPS_PROXY"]) == (LOOPBACK, LOOPBACK, DEAD)


async def test_a_webhook_on_this_machine_is_reached_past_the_proxy() -> None:
    """Whoever started the steward, and whatever it was given."""
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set_result(await reader.readline())
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await post(f"http://localhost:{port}/hook", {"text": "hello"})
    assert heard.result().startswith(b"POST /hook ")
