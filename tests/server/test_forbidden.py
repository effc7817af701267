"""`clawbus doctor` proves on the live system that forbidden calls are refused."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from clawbus.provision import permissions
from clawbus.provision.account_push import push
from clawbus.provision.permissions import Rights
from clawbus.wire.channels import STREAMS
from tests.company import Live, free_ports, live
from tests.server.office import clawbus
from tests.server.test_permissions import TOML


@pytest.fixture
async def firm(tmp_path: Path) -> AsyncIterator[Live]:
    async with live(tmp_path, None, toml=TOML.format(ports=free_ports(3))) as company:
        for key in ("gw-lab", "gw-hq", "me-owner", "steward"):
            company.company.identity(key)
        yield company


async def the_check(firm: Live) -> dict[str, Any]:
    _, checks = await clawbus(firm, "doctor")
    (found,) = (check for check in checks if check["name"] == "forbidden calls")
    return dict(found)


async def stored(firm: Live) -> dict[str, Any]:
    async with firm.owner() as bus:
        return {one.name: (await bus.api(f"STREAM.INFO.{one.name}"))["state"]["last_seq"] for one in STREAMS}


async def test_n12_doctor_tries_forbidden_calls_and_says_that_they_are_refused(firm: Live) -> None:
    """With one key of each kind that lies on this machine; nothing is stored by it."""
    before = await stored(firm)
    check = await the_check(firm)
    assert (check["ok"], check["remedy"]) == (True, "")
    assert check["detail"].startswith("gw-hq, me-owner, steward tried to speak as another")
    assert await stored(firm) == {name: seq + 1 for name, seq in before.items()}  # the write of the check `streams`


@pytest.mark.parametrize(
    ("role", "subject", "said"),
    [
        ("gateway", "acme.dm.*.*", "gw-hq could speak as cto; gw-hq could speak as auditor"),
        ("person", "acme.keys.*.*", "me-owner could change the list of public keys"),
        ("steward", "HUB.STREAM.PURGE.*", "steward could throw tasks away"),
        ("gateway", "HUB.CONSUMER.>", "gw-hq could make a reader of everybody's mail; gw-hq could read another's mail"),
    ],
)
async def test_n12_doctor_says_what_is_not_refused_and_does_no_harm_by_trying(
    firm: Live, monkeypatch: pytest.MonkeyPatch, role: str, subject: str, said: str
) -> None:
    """A server whose list has a wildcard too many: the check fails, by name, with a remedy; no message is stored or lost."""
    real = permissions.rights

    def wider(org: object, name: str) -> Rights:
        may = real(org, name)  # type: ignore[arg-type]
        return Rights((*may.publish, subject), may.subscribe) if name == role else may

    monkeypatch.setattr("clawbus.provision.authority.rights", wider)
    async with firm.owner() as bus:
        await bus.publish("acme.tasks.cto.low.owner", b"kept", msg_id="owner-kept")
    assert await push(firm.home, firm.org)
    before = await stored(firm)
    check = await the_check(firm)
    assert check["ok"] is False
    assert check["detail"] == f"not refused: {said}"
    assert "clawbus up" in check["remedy"]
    assert await stored(firm) == {name: seq + 1 for name, seq in before.items()}  # the write of the check `streams`
    async with firm.owner() as bus:
        assert len(await bus.stored("TASKS", "acme.tasks.>")) == 1


async def test_n12_a_server_without_users_is_no_success(firm: Live, tmp_path: Path) -> None:
    """Where the server lets everybody in, everybody can be anybody: doctor must not call that well."""
    firm.kill("nats-server")
    open_config = tmp_path / "open.conf"
    open_config.write_text(
        f'listen: "127.0.0.1:{firm.org.bus.port}"\njetstream {{ store_dir: "{tmp_path / "open"}" }}\n'
    )
    from clawbus.provision import server

    process = subprocess.Popen(server.command(server.find_server(), open_config), stderr=subprocess.DEVNULL)
    try:
        await server.wait_ready(firm.org.bus.port, 15)
        _, checks = await clawbus(firm, "doctor")
        assert not any(check["name"] == "forbidden calls" and check["ok"] for check in json.loads(json.dumps(checks)))
    finally:
        process.kill()
        process.wait(10)
